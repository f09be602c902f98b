"""Issuing and revoking API tokens."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from app.db.models import ApiToken, Principal
from app.db.tokens import lock_token
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import NotFoundError, UnknownReferenceError
from app.domain.identity.access import EVERYWHERE, Role, not_found, role_in
from app.domain.identity.tokens import new_token, token_hash
from app.services.identity.principals import facts_of, lock_active
from app.services.transactions import Transaction, Transactions


def issue_token(
    transactions: Transactions,
    *,
    principal: str,
    lifetime: timedelta,
    channels: Collection[str] | None,
) -> tuple[ApiToken, str]:
    """Issue a token; return its row and the secret, which cannot be read again.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        UnknownReferenceError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
    """
    needs = role_in(Role.ADMIN, EVERYWHERE)
    with transactions.begin("token.issue", needs, subject=REGISTRY) as transaction:
        try:
            holder = lock_active(transaction.session, principal)
        except NotFoundError as error:
            message = f"The principal {principal} does not exist; create it first."
            raise UnknownReferenceError(message) from error
        return add_token(transaction, holder, lifetime, channels)


def add_token(
    transaction: Transaction,
    holder: Principal,
    lifetime: timedelta,
    channels: Collection[str] | None,
) -> tuple[ApiToken, str]:
    """Insert a token and its audit entry."""
    secret = new_token()
    limit = None if channels is None else sorted(set(channels))
    now = transaction.now
    token = ApiToken(holder.id, token_hash(secret), now, now + lifetime, limit)
    transaction.session.add(token)
    transaction.session.flush()
    facts = facts_of(holder) | {
        "token_id": str(token.id),
        "expires_at": token.expires_at.isoformat(),
        "channels": None if limit is None else [*limit],
    }
    transaction.record("token.issue", facts)
    return token, secret


def revoke_token(transactions: Transactions, *, token_id: UUID) -> None:
    """Revoke a token; revoking it again changes nothing.

    A change that the token has begun takes effect before this returns, or never.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The token does not exist.
    """
    needs = role_in(Role.ADMIN, EVERYWHERE)
    with transactions.begin("token.revoke", needs, subject=REGISTRY) as transaction:
        token = lock_token(transaction.session, token_id)
        if token is None:
            raise not_found("token", str(token_id))
        if token.revoked_at is None:
            token.revoked_at = transaction.now
            facts: Facts = {"token_id": str(token_id)}
            transaction.record("token.revoke", facts)
