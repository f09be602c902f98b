"""Web sessions: signing in to the pages, renewing the session cookie, and signing out."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from app.db import audit
from app.db.federated_identities import lock_identity
from app.db.models import ApiToken, FederatedIdentityRow, WebSession
from app.db.session import Sessions, expect
from app.db.web_sessions import (
    delete_expired_sessions,
    delete_session,
    live_token,
    renew,
    session_by_cookie,
)
from app.domain.audit.chain import REGISTRY, Facts, audit_event
from app.domain.identity.access import Caller
from app.domain.identity.oidc import Issuer, comparable_claims
from app.domain.naming import Json
from app.services.identity.authentication import authenticate, principal_for_claims

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


def sign_in(sessions: Sessions, *, token: str, now: datetime) -> PageVisit:
    """Open a session for the principal that holds `token`; it ends no later than the token.

    Raises:
        UnauthenticatedError: The token is malformed, unknown, revoked or expired.
    """
    caller = authenticate(sessions, token=token, now=now)
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        held = live_token(session, token, now)
        return _opened(session, caller, held, min(now + LONGEST_LIFETIME, held.expires_at), now)


def sign_in_as(
    sessions: Sessions, *, issuer: Issuer, claims: Mapping[str, object], now: datetime
) -> PageVisit:
    """Open a session for the principal to which the verified claims of an ID token are bound.

    The session depends on that federated identity, and ends when it is removed.

    Raises:
        UnauthenticatedError: The claims are bound to no principal or to several.
    """
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        caller = principal_for_claims(session, issuer, claims)
        held = lock_identity(session, caller.id, issuer.url, comparable_claims(claims))
        return _opened(session, caller, expect(held), now + LONGEST_LIFETIME, now)


def _opened(
    session: Session,
    caller: Caller,
    held: ApiToken | FederatedIdentityRow,
    ends_at: datetime,
    now: datetime,
) -> PageVisit:
    delete_expired_sessions(session, now)
    cookie = _new_secret()
    by_token = isinstance(held, ApiToken)
    row = WebSession(
        token_id=held.id if by_token else None,
        identity_id=None if by_token else held.id,
        hash=_hash(cookie),
        form_token=_new_secret(),
        created_at=now,
        renewed_at=now,
        expires_at=min(now + IDLE_LIFETIME, ends_at),
        ends_at=ends_at,
    )
    session.add(row)
    session.flush()
    facts: dict[str, Json] = {"session_id": str(row.id)}
    if isinstance(held, ApiToken):
        facts["token_id"] = str(held.id)
    else:
        facts |= {"identity_id": str(held.id), "issuer": held.issuer}
    _record(session, "session.open", facts, caller, now)
    return PageVisit(caller, row.id, row.form_token, cookie)


def visit(
    sessions: Sessions,
    *,
    cookie: str,
    now: datetime,
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
        found = session_by_cookie(session, _hash(cookie), issuers, now)
    if found is None:
        return None
    row, caller = found
    present = PageVisit(caller, row.id, row.form_token)
    if not attended or now - row.renewed_at < RENEWED_AFTER:
        return present
    return _renewed(sessions, present, row, now)


def sign_out(sessions: Sessions, *, visit: PageVisit, now: datetime) -> None:
    """End a session at once; ending it again changes nothing."""
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        if delete_session(session, visit.session_id):
            facts: Facts = {"session_id": str(visit.session_id)}
            _record(session, "session.close", facts, visit.caller, now)


def _renewed(sessions: Sessions, present: PageVisit, row: WebSession, now: datetime) -> PageVisit:
    cookie = _new_secret()
    with sessions.begin() as session:
        renewed = renew(
            session,
            row.id,
            before=row.hash,
            after=_hash(cookie),
            expires_at=min(now + IDLE_LIFETIME, row.ends_at),
            at=now,
        )
    return replace(present, cookie=cookie) if renewed else present


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _record(session: Session, action: str, facts: Facts, caller: Caller, now: datetime) -> None:
    audit.append(session, audit_event(REGISTRY, action, facts, caller=caller, now=now))
