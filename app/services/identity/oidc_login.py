"""OIDC login to the pages: redirecting a browser to an issuer, and processing its response."""

import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.db.models import LoginAttempt
from app.db.principals import delete_expired_attempts, take_attempt
from app.db.session import Sessions
from app.domain.errors import UnauthenticatedError, UnavailableError
from app.domain.identity.access import any_caller
from app.domain.identity.oidc import Issuer
from app.domain.identity.oidc_login import (
    ATTEMPT_LIFETIME,
    AuthorizationResponse,
    Client,
    Proof,
    authorization_request,
    authorization_response_fault,
)
from app.oidc.code_exchange import CodeRefusedError, exchanged_token
from app.oidc.discovery import Endpoints
from app.oidc.fetching import FetchError
from app.oidc.issuers import Issuers
from app.services.identity import web_sessions
from app.services.identity.web_sessions import PageVisit
from app.services.transactions import transactions_of_server

_MINUTES: Final = int(ATTEMPT_LIFETIME.total_seconds() // 60)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoginRedirect:
    """The issuer's URL for a login, and the cookie that ties the login to the browser."""

    url: str
    cookie: str


def begin(
    sessions: Sessions, issuers: Issuers, *, name: str, target: str, now: datetime
) -> LoginRedirect:
    """Begin a login that ends at the page `target`, which the caller has validated.

    Raises:
        NotFoundError: No issuer with a login has this name.
        UnavailableError: The issuer's endpoints cannot be discovered.
    """
    issuer, client = issuers.for_login(name)
    endpoints = issuers.endpoints(client, now)
    proof, state = Proof(secrets.token_urlsafe(32)), secrets.token_urlsafe(32)
    transactions = transactions_of_server(sessions)
    with transactions.begin_unaudited("login.begin", any_caller) as transaction:
        delete_expired_attempts(transaction.session)
        transaction.session.add(
            LoginAttempt(
                state_hash=_hash(state),
                browser_hash=_hash(proof.secret),
                issuer=issuer.url,
                target=target,
                expires_at=transaction.now + ATTEMPT_LIFETIME,
            )
        )
    url = authorization_request(endpoints.authorization_url, client, proof, state)
    return LoginRedirect(url, proof.secret)


def claim_attempt(
    sessions: Sessions,
    issuers: Issuers,
    *,
    name: str,
    state: str | None,
    cookie: str | None,
) -> LoginAttempt:
    """Take the login attempt that an authorization response belongs to; it works only once.

    Raises:
        NotFoundError: No issuer with a login has this name.
        UnauthenticatedError: This browser has no such attempt with the issuer, or it has expired.
    """
    issuer, _ = issuers.for_login(name)
    attempt, now = None, None
    if state and cookie:
        transactions = transactions_of_server(sessions)
        with transactions.begin_unaudited("login.claim", any_caller) as transaction:
            now = transaction.now
            attempt = take_attempt(
                transaction.session, state_hash=_hash(state), browser_hash=_hash(cookie)
            )
    if attempt is None or now is None:
        raise UnauthenticatedError(
            "This login is not the latest one of this browser, or it was used before; start again."
        )
    if attempt.expires_at <= now:
        raise UnauthenticatedError(f"This login took longer than {_MINUTES} minutes; start again.")
    if attempt.issuer != issuer.url:
        raise UnauthenticatedError("This login was started with a different issuer; start again.")
    return attempt


def complete(
    sessions: Sessions,
    issuers: Issuers,
    *,
    name: str,
    answer: AuthorizationResponse,
    cookie: str,
    now: datetime,
) -> PageVisit:
    """Open a web session for the principal that the issuer has authenticated.

    The caller has taken the login attempt.

    Raises:
        UnauthenticatedError: The authorization response or ID token is invalid, or its claims are
            bound to no principal or to several.
        UnavailableError: The issuer does not respond.
    """
    issuer, client = issuers.for_login(name)
    endpoints, proof = issuers.endpoints(client, now), Proof(cookie)
    if fault := authorization_response_fault(
        answer, issuer.url, names_itself=endpoints.names_itself
    ):
        message = f"The response of {issuer.url} is invalid: {fault}; start again."
        raise UnauthenticatedError(message)
    token = _exchange(issuer, client, endpoints, answer.code or "", proof)
    claims = issuers.verified_id_token(token, issuer, client, nonce=proof.nonce, now=now)
    return web_sessions.sign_in_as(sessions, issuer=issuer, claims=claims)


def _exchange(issuer: Issuer, client: Client, endpoints: Endpoints, code: str, proof: Proof) -> str:
    try:
        return exchanged_token(endpoints, client, code=code, verifier=proof.verifier)
    except CodeRefusedError as error:
        _log.warning("the issuer refused the code of a login: %s", error)
        message = f"{issuer.url} did not confirm this login; start again."
        raise UnauthenticatedError(message) from error
    except FetchError as error:
        _log.warning("a login could not be completed: %s", error)
        message = f"{issuer.url} did not respond as expected; start again shortly."
        raise UnavailableError(message) from error


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
