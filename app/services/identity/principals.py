"""Creating principals, setting their grants and federated identities, and deactivating them."""

from collections.abc import Collection, Sequence

from sqlalchemy.orm import Session

from app.db.models import FederatedIdentityRow, Principal, RoleGrant
from app.db.principals import holder_of, lock_principal, principal_spelled_like
from app.db.tokens import revoke_tokens
from app.db.web_sessions import delete_sessions_opened_by
from app.domain.audit.chain import REGISTRY
from app.domain.errors import (
    AlreadyExistsError,
    Fault,
    InvalidRequestError,
    PrincipalDeactivatedError,
    UnknownReferenceError,
)
from app.domain.identity.access import (
    EVERYWHERE,
    Grant,
    PrincipalKind,
    Role,
    not_found,
    role_in,
)
from app.domain.identity.oidc import FederatedIdentity
from app.domain.naming import Json
from app.oidc.issuers import Issuers
from app.services.transactions import Transaction, Transactions

_ADMIN = role_in(Role.ADMIN, EVERYWHERE)


def create_principal(
    transactions: Transactions,
    *,
    name: str,
    kind: PrincipalKind,
    grants: Collection[Grant],
) -> Principal:
    """Create a human or service principal with its grants.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        AlreadyExistsError: The name, or one that differs by case only, is taken.
    """
    with transactions.begin("principal.create", _ADMIN, subject=REGISTRY) as transaction:
        return add_principal(transaction, name, kind, grants)


def add_principal(
    transaction: Transaction,
    name: str,
    kind: PrincipalKind,
    grants: Collection[Grant],
) -> Principal:
    """Insert a principal and its audit entry.

    Raises:
        AlreadyExistsError: The name, or one that differs by case only, is taken.
    """
    session = transaction.session
    if (known := principal_spelled_like(session, name)) is not None:
        raise AlreadyExistsError(f"The principal {known.name} already exists; choose another name.")
    principal = Principal(name, kind, transaction.now)
    principal.grants, principal.identities = _rows(grants), []
    session.add(principal)
    session.flush()
    facts = facts_of(principal) | {"kind": kind.value, "grants": _listed(grants)}
    transaction.record("principal.create", facts)
    return principal


def set_grants(transactions: Transactions, *, name: str, grants: Collection[Grant]) -> Principal:
    """Replace all grants of a principal.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
    """
    with transactions.begin("grants.set", _ADMIN, subject=REGISTRY) as transaction:
        principal = lock_active(transaction.session, name)
        kept = [row for row in principal.grants if Grant(row.role, row.namespace) in grants]
        held = {Grant(row.role, row.namespace) for row in kept}
        principal.grants = kept + _rows(set(grants) - held)
        facts = facts_of(principal) | {"grants": _listed(grants)}
        transaction.record("grants.set", facts)
        return principal


def set_identities(
    transactions: Transactions,
    issuers: Issuers,
    *,
    name: str,
    identities: Sequence[FederatedIdentity],
) -> Principal:
    """Replace all federated identities of a principal.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
        UnknownReferenceError: An issuer is not configured.
        InvalidRequestError: An issuer is configured for principals of a different kind.
        AlreadyExistsError: A federated identity is bound to another principal.
    """
    with transactions.begin("identities.set", _ADMIN, subject=REGISTRY) as transaction:
        session = transaction.session
        principal = lock_active(session, name)
        for identity in identities:
            _require_bindable(session, issuers, identity, principal)
        kept = [row for row in principal.identities if _identity(row) in identities]
        removed = [row for row in principal.identities if row not in kept]
        delete_sessions_opened_by(session, removed)
        held = [_identity(row) for row in kept]
        principal.identities = kept + [
            FederatedIdentityRow(identity.issuer, dict(identity.claims))
            for identity in identities
            if identity not in held
        ]
        listed: list[Json] = [
            {"issuer": identity.issuer, "claims": dict(identity.claims)} for identity in identities
        ]
        transaction.record("identities.set", facts_of(principal) | {"identities": listed})
        return principal


def _require_bindable(
    session: Session, issuers: Issuers, identity: FederatedIdentity, principal: Principal
) -> None:
    if identity.issuer not in issuers:
        message = f"The issuer {identity.issuer} is not in the server's configuration."
        raise UnknownReferenceError(message)
    kind = issuers[identity.issuer].kind
    if kind is not principal.kind:
        message = (
            f"{identity.issuer} is configured for principals of the kind {kind}, but "
            f"{principal.name} is a {principal.kind}."
        )
        raise InvalidRequestError(message, [Fault("identity-kind", message)])
    holder = holder_of(session, identity)
    if holder is not None and holder.id != principal.id:
        message = f"These claims of {identity.issuer} are already bound to {holder.name}."
        raise AlreadyExistsError(message)


def _identity(row: FederatedIdentityRow) -> FederatedIdentity:
    return FederatedIdentity(row.issuer, row.claims)


def deactivate(transactions: Transactions, *, name: str) -> None:
    """Deactivate a principal permanently: remove its grants, tokens and federated identities.

    Deactivating it again changes nothing. The name stays taken, so that audit entries remain
    unambiguous.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The principal does not exist.
    """
    with transactions.begin("principal.deactivate", _ADMIN, subject=REGISTRY) as transaction:
        session, now = transaction.session, transaction.now
        principal = _lock(session, name)
        if principal.deactivated_at is not None:
            return
        delete_sessions_opened_by(session, principal.identities)
        principal.deactivated_at = now
        principal.grants = []
        principal.identities = []
        facts = facts_of(principal) | {"tokens": revoke_tokens(session, principal.id, now)}
        transaction.record("principal.deactivate", facts)


def lock_active(session: Session, name: str) -> Principal:
    """Return a principal, locked.

    Raises:
        NotFoundError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
    """
    principal = _lock(session, name)
    if principal.deactivated_at is not None:
        since = principal.deactivated_at.isoformat()
        message = f"{name} was permanently deactivated at {since}; create another principal."
        raise PrincipalDeactivatedError(message)
    return principal


def _lock(session: Session, name: str) -> Principal:
    principal = lock_principal(session, name)
    if principal is None:
        raise not_found("principal", name)
    return principal


def facts_of(principal: Principal) -> dict[str, Json]:
    return {"principal": principal.name, "principal_id": str(principal.id)}


def _rows(grants: Collection[Grant]) -> list[RoleGrant]:
    return [RoleGrant(grant.role, grant.namespace) for grant in sorted(set(grants))]


def _listed(grants: Collection[Grant]) -> list[Json]:
    return [{"role": grant.role.value, "namespace": grant.namespace} for grant in sorted(grants)]
