"""Web sessions: signing in to the pages, renewing the session cookie, and signing out."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from app.db.models import WebSession
from app.db.session import Sessions
from app.db.web_sessions import delete_expired_sessions, delete_session, renew, session_by_cookie
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import UnauthenticatedError
from app.domain.identity.access import Caller, any_caller
from app.domain.identity.credentials import (
    FederatedCredential,
    SessionCredential,
    TokenCredential,
)
from app.domain.identity.oidc import Issuer
from app.services.identity.authentication import authenticate, principal_for_claims
from app.services.transactions import Transactions, transactions_of_server

IDLE_LIFETIME: Final = timedelta(minutes=30)
LONGEST_LIFETIME: Final = timedelta(hours=10)
RENEWED_AFTER: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class PageVisit:
    """A page request of a signed-in principal.

    `form_token` is the CSRF token for the forms of the page. `cookie` is the new session cookie,
    if the browser must replace its present one.
    """

    caller: Caller
    session_id: UUID
    form_token: str
    cookie: str | None = None


def sign_in(sessions: Sessions, *, token: str) -> PageVisit:
    """Open a session for the principal that holds `token`; it ends no later than the token.

    Raises:
        UnauthenticatedError: The token is malformed, unknown, revoked or expired.
    """
    held = authenticate(sessions, token=token)
    return _opened(sessions, held.caller, {}, latest_end=held.expires_at)


def sign_in_as(sessions: Sessions, *, issuer: Issuer, claims: Mapping[str, object]) -> PageVisit:
    """Open a session for the principal to which the verified claims of an ID token are bound.

    The session depends on that federated identity, and ends when it is removed.

    Raises:
        UnauthenticatedError: The claims are bound to no principal or to several.
    """
    with sessions() as session:
        caller = principal_for_claims(session, issuer, claims)
    return _opened(sessions, caller, {"issuer": issuer.url})


def _opened(
    sessions: Sessions, caller: Caller, facts: Facts, *, latest_end: datetime | None = None
) -> PageVisit:
    transactions, held = Transactions(sessions, caller), caller.credential
    token_id = held.token_id if isinstance(held, TokenCredential) else None
    identity_id = held.identity_id if isinstance(held, FederatedCredential) else None
    with transactions.begin("session.open", any_caller, subject=REGISTRY) as transaction:
        session, now = transaction.session, transaction.now
        delete_expired_sessions(session)
        ends_at = now + LONGEST_LIFETIME
        if latest_end is not None:
            ends_at = min(ends_at, latest_end)
        cookie = _new_secret()
        row = WebSession(
            token_id=token_id,
            identity_id=identity_id,
            hash=_hash(cookie),
            form_token=_new_secret(),
            created_at=now,
            renewed_at=now,
            expires_at=min(now + IDLE_LIFETIME, ends_at),
            ends_at=ends_at,
        )
        session.add(row)
        session.flush()
        opener = {"token_id": token_id, "identity_id": identity_id}
        transaction.record(
            "session.open",
            {"session_id": str(row.id), **facts}
            | {name: str(id_) for name, id_ in opener.items() if id_ is not None},
        )
        opened = replace(transaction.caller, credential=SessionCredential(row.id))
        return PageVisit(opened, row.id, row.form_token, cookie)


def visit(
    sessions: Sessions,
    *,
    cookie: str,
    issuers: Collection[str] = (),
    attended: bool = True,
) -> PageVisit | None:
    """Return the visit of the principal behind a cookie; None if the session has ended.

    A session also ends with the token or the federated identity that opened it, or when its
    issuer is no longer one of `issuers`. Every few minutes the cookie is replaced, so that a
    stolen copy soon stops working, and the session is extended. Requests that a page makes by
    itself (`attended` is false) do neither.
    """
    with sessions() as session:
        found = session_by_cookie(session, _hash(cookie), issuers)
    if found is None:
        return None
    row, caller, now = found
    present = PageVisit(caller, row.id, row.form_token)
    if not attended or now - row.renewed_at < RENEWED_AFTER:
        return present
    return _renewed(sessions, present, row)


def sign_out(sessions: Sessions, *, visit: PageVisit) -> None:
    """End a session at once; ending it again changes nothing."""
    transactions = Transactions(sessions, visit.caller)
    with (
        suppress(UnauthenticatedError),  # the session has ended already
        transactions.begin("session.close", any_caller, subject=REGISTRY) as transaction,
    ):
        delete_session(transaction.session, visit.session_id)
        transaction.record("session.close", {"session_id": str(visit.session_id)})


def _renewed(sessions: Sessions, present: PageVisit, row: WebSession) -> PageVisit:
    cookie = _new_secret()
    # Not as the visitor, whose transactions lock the session that this one updates.
    transactions = transactions_of_server(sessions)
    with transactions.begin_unaudited("session.renew", any_caller) as transaction:
        renewed = renew(
            transaction.session,
            row.id,
            before=row.hash,
            after=_hash(cookie),
            expires_at=min(transaction.now + IDLE_LIFETIME, row.ends_at),
            at=transaction.now,
        )
    return replace(present, cookie=cookie) if renewed else present


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
