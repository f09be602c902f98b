"""Signing in to the pages through an issuer: sending a browser there, and taking it back."""

import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.db.login_attempts import forget_attempts, take_attempt
from app.db.models import LoginAttempt
from app.db.session import Sessions
from app.domain.errors import UnauthenticatedError, UnavailableError
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

_MINUTES: Final = int(ATTEMPT_LIFETIME.total_seconds() // 60)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a browser goes to sign in, and what it keeps to prove that it went."""

    url: str
    cookie: str


def begin(
    sessions: Sessions, issuers: Issuers, *, name: str, target: str, now: datetime
) -> Departure:
    """Begin a sign-in that ends at `target`, which the caller has checked.

    Raises:
        NotFoundError: No issuer to sign in with has that name.
        UnavailableError: The issuer does not say where people sign in.
    """
    issuer, client = issuers.to_sign_in_with(name)
    endpoints = issuers.endpoints(client, now)
    proof, state = Proof(secrets.token_urlsafe(32)), secrets.token_urlsafe(32)
    with sessions.begin() as session:
        forget_attempts(session, now)
        session.add(
            LoginAttempt(
                state_hash=_hash(state),
                browser_hash=_hash(proof.secret),
                issuer=issuer.url,
                target=target,
                expires_at=now + ATTEMPT_LIFETIME,
            )
        )
    url = authorization_request(endpoints.authorization_url, client, proof, state)
    return Departure(url, proof.secret)


def taken(
    sessions: Sessions,
    issuers: Issuers,
    *,
    name: str,
    state: str | None,
    cookie: str | None,
    now: datetime,
) -> LoginAttempt:
    """Return the attempt that an answer is to, which no other answer is to from now on.

    Raises:
        NotFoundError: No issuer to sign in with has that name.
        UnauthenticatedError: This browser began no such sign-in with it, or too long ago.
    """
    issuer, _ = issuers.to_sign_in_with(name)
    attempt = None
    if state and cookie:
        with sessions.begin() as session:
            attempt = take_attempt(session, state_hash=_hash(state), browser_hash=_hash(cookie))
    if attempt is None:
        raise UnauthenticatedError(
            "This sign-in is not the one that this browser began last, or it was used already; "
            "begin again."
        )
    if attempt.expires_at <= now:
        raise UnauthenticatedError(
            f"This sign-in took longer than {_MINUTES} minutes; begin again."
        )
    if attempt.issuer != issuer.url:
        raise UnauthenticatedError("This sign-in was begun with another issuer; begin again.")
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
    """Open a session for whoever the issuer says has signed in, once the attempt is taken.

    Raises:
        UnauthenticatedError: The answer does not hold, or means nobody here, or several.
        UnavailableError: The issuer does not answer.
    """
    issuer, client = issuers.to_sign_in_with(name)
    endpoints, proof = issuers.endpoints(client, now), Proof(cookie)
    if fault := authorization_response_fault(
        answer, issuer.url, names_itself=endpoints.names_itself
    ):
        message = f"The answer of {issuer.url} is refused: {fault}; begin again."
        raise UnauthenticatedError(message)
    token = _redeemed(issuer, client, endpoints, answer.code or "", proof)
    claims = issuers.verified_id_token(token, issuer, client, nonce=proof.nonce, now=now)
    return web_sessions.sign_in_as(sessions, issuer=issuer, claims=claims, now=now)


def _redeemed(issuer: Issuer, client: Client, endpoints: Endpoints, code: str, proof: Proof) -> str:
    try:
        return exchanged_token(endpoints, client, code=code, verifier=proof.verifier)
    except CodeRefusedError as error:
        _log.warning("a sign-in was refused: %s", error)
        message = f"{issuer.url} does not confirm this sign-in; begin again."
        raise UnauthenticatedError(message) from error
    except FetchError as error:
        _log.warning("a sign-in cannot be completed: %s", error)
        message = f"{issuer.url} does not answer as it should; begin again shortly."
        raise UnavailableError(message) from error


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
