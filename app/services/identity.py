"""Principals, their grants and their tokens."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.db import audit
from app.db.models import ApiToken, Principal, RoleGrant
from app.db.principals import caller_by_token, lock_principal, lock_token, principal_named
from app.db.session import Sessions
from app.domain.access import EVERYWHERE, Caller, Grant, PrincipalKind, Role, nothing_named
from app.domain.audit import REGISTRY, Facts, happened
from app.domain.errors import AlreadyExistsError, UnauthenticatedError, UnknownReferenceError
from app.domain.identity import Json
from app.domain.tokens import is_token, new_token, token_hash


def authenticate(sessions: Sessions, *, token: str, now: datetime) -> Caller:
    """Return who is calling.

    Raises:
        UnauthenticatedError: The token is malformed, unknown, revoked or expired.
    """
    caller = None
    if is_token(token):
        with sessions() as session:
            caller = caller_by_token(session, token, now)
    if caller is None:
        raise UnauthenticatedError("The bearer token is unknown, revoked or expired.")
    return caller


def create_principal(
    sessions: Sessions,
    *,
    name: str,
    kind: PrincipalKind,
    grants: Collection[Grant],
    caller: Caller,
    now: datetime,
) -> Principal:
    """Create a person or a service, with what it may do.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        AlreadyExistsError: The name is taken.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        if principal_named(session, name) is not None:
            raise AlreadyExistsError(f"There is a principal {name} already.")
        principal = Principal(name, kind, now)
        principal.grants = _rows(grants)
        session.add(principal)
        session.flush()
        facts = _facts(principal) | {"kind": kind.value, "grants": _listed(grants)}
        _record(session, "principal.create", facts, caller, now)
        return principal


def set_grants(
    sessions: Sessions, *, name: str, grants: Collection[Grant], caller: Caller, now: datetime
) -> Principal:
    """Replace all grants of a principal.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        NotFoundError: There is no such principal.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        principal = lock_principal(session, name)
        if principal is None:
            raise nothing_named("principal", name)
        kept = [row for row in principal.grants if Grant(row.role, row.namespace) in grants]
        held = {Grant(row.role, row.namespace) for row in kept}
        principal.grants = kept + _rows(set(grants) - held)
        facts = _facts(principal) | {"grants": _listed(grants)}
        _record(session, "grants.set", facts, caller, now)
        return principal


def issue_token(
    sessions: Sessions,
    *,
    principal: str,
    lifetime: timedelta,
    channels: Collection[str] | None,
    caller: Caller,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Issue a token; return its row and, the only time, the token itself.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        UnknownReferenceError: There is no such principal.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        holder = principal_named(session, principal)
        if holder is None:
            raise UnknownReferenceError(f"There is no principal {principal}; create it first.")
        secret = new_token()
        limit = None if channels is None else sorted(set(channels))
        token = ApiToken(holder.id, token_hash(secret), now, now + lifetime, limit)
        session.add(token)
        session.flush()
        facts = _facts(holder) | {
            "token_id": str(token.id),
            "expires_at": token.expires_at.isoformat(),
            "channels": None if limit is None else [*limit],
        }
        _record(session, "token.issue", facts, caller, now)
        return token, secret


def revoke_token(sessions: Sessions, *, token_id: UUID, caller: Caller, now: datetime) -> None:
    """Revoke a token; revoking it again changes nothing.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        NotFoundError: There is no such token.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        token = lock_token(session, token_id)
        if token is None:
            raise nothing_named("token", str(token_id))
        if token.revoked_at is None:
            token.revoked_at = now
            facts: Facts = {"token_id": str(token_id)}
            _record(session, "token.revoke", facts, caller, now)


def _rows(grants: Collection[Grant]) -> list[RoleGrant]:
    return [RoleGrant(grant.role, grant.namespace) for grant in sorted(set(grants))]


def _listed(grants: Collection[Grant]) -> list[Json]:
    return [{"role": grant.role.value, "namespace": grant.namespace} for grant in sorted(grants)]


def _facts(principal: Principal) -> dict[str, Json]:
    return {"principal": principal.name, "principal_id": str(principal.id)}


def _record(session: Session, action: str, facts: Facts, caller: Caller, now: datetime) -> None:
    audit.append(session, happened(REGISTRY, action, facts, caller=caller, now=now))
