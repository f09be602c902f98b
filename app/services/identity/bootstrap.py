"""The first principals and tokens, which the server's own CLI creates."""

from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta

from app.db.principals import has_principals, principal_named
from app.db.session import Sessions
from app.domain.audit.chain import REGISTRY
from app.domain.errors import AlreadyExistsError, UnauthenticatedError
from app.domain.identity.access import EVERYWHERE, Grant, PrincipalKind, Role, any_caller
from app.services.identity.authentication import authenticate
from app.services.identity.principals import add_principal, create_principal
from app.services.identity.tokens import add_token, issue_token
from app.services.transactions import transactions_of_server


def first_admin(
    sessions: Sessions,
    *,
    name: str,
    grants: Collection[Grant],
    lifetime: timedelta,
) -> str:
    """Create the first admin of the whole registry, with further grants; return its token, once.

    The principal and its token are created in one transaction under the lock of the registry's
    chain, so that only one of two concurrent attempts succeeds.

    Raises:
        AlreadyExistsError: An admin, or a principal with this name, already exists.
    """
    every = {Grant(Role.ADMIN, EVERYWHERE), *grants}
    transactions = transactions_of_server(sessions)
    with transactions.begin("principal.create", any_caller, subject=REGISTRY) as transaction:
        if has_principals(transaction.session, Role.ADMIN, EVERYWHERE):
            raise AlreadyExistsError("The registry has an admin already, who can issue tokens.")
        holder = add_principal(transaction, name, PrincipalKind.HUMAN, every)
        _, token = add_token(transaction, holder, lifetime, None)
        return token


def ensure_principal(
    sessions: Sessions,
    *,
    name: str,
    kind: PrincipalKind,
    grants: Collection[Grant],
) -> None:
    """Create a principal, unless the name exists; an existing principal is left unchanged.

    Raises:
        AlreadyExistsError: A name that differs by case only exists.
    """
    transactions = transactions_of_server(sessions)
    try:
        create_principal(transactions, name=name, kind=kind, grants=grants)
    except AlreadyExistsError:
        with sessions() as session:
            if principal_named(session, name) is None:
                raise


def ensure_token(
    sessions: Sessions, *, principal: str, known: str | None, lifetime: timedelta
) -> str:
    """Return `known` if it is a valid token of `principal`, and a new token otherwise."""
    if known is not None:
        with suppress(UnauthenticatedError):
            if authenticate(sessions, token=known).caller.name == principal:
                return known
    transactions = transactions_of_server(sessions)
    _, token = issue_token(transactions, principal=principal, lifetime=lifetime, channels=None)
    return token
