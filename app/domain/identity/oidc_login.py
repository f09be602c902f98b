"""Signing in through an issuer: what it is asked, and whether its answers may be believed.

The authorisation code grant (RFC 6749 §4.1, OpenID Connect Core §3.1) with PKCE (RFC 7636), and
with what RFC 9700 asks beyond: an answer is tied to one browser, one issuer and one use.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

ATTEMPT_LIFETIME: Final = timedelta(minutes=10)

_SCOPES: Final = "openid profile email"
_ERROR: Final = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class Client:
    """What this registry is to an issuer that people sign in through.

    Each issuer leads back to a `redirect_uri` of its own, so that no other's answer can be taken
    for one of it, though it may not name itself there. Without the two URLs the issuer's own
    discovery document says where to go.
    """

    name: str
    id: str
    redirect_uri: str
    secret: str | None = field(default=None, repr=False)
    authorization_url: str | None = None
    token_url: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What follows from the secret that only the browser that began a sign-in has.

    So a stranger's answer fails with the issuer and with us, and no table holds a verifier.
    """

    secret: str = field(repr=False)

    @property
    def nonce(self) -> str:
        return self._derived(b"nonce")

    @property
    def verifier(self) -> str:
        return self._derived(b"code_verifier")

    @property
    def challenge(self) -> str:
        """Return the verifier's S256 challenge, which the issuer is told at first."""
        return _encoded(hashlib.sha256(self.verifier.encode()).digest())

    def _derived(self, purpose: bytes) -> str:
        return _encoded(hmac.digest(self.secret.encode(), purpose, "sha256"))


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """What an issuer sends a browser back with; anybody can make one up."""

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None


def authorization_request(url: str, client: Client, proof: Proof, state: str) -> str:
    """Return where to send a browser that is to sign in; the URL may have a query already."""
    asked = urlencode(
        {
            "response_type": "code",
            "client_id": client.id,
            "redirect_uri": client.redirect_uri,
            "scope": _SCOPES,
            "state": state,
            "nonce": proof.nonce,
            "code_challenge": proof.challenge,
            "code_challenge_method": "S256",
        }
    )
    return f"{url}{'&' if '?' in url else '?'}{asked}"


def authorization_response_fault(
    answer: AuthorizationResponse, issuer_url: str, *, names_itself: bool
) -> str | None:
    """Return why an answer leads nowhere, as a sentence about it.

    `names_itself` says that the issuer promised to put its name into every answer (RFC 9207).
    """
    if answer.issuer is None and names_itself:
        return "it does not name its issuer, as that one's answers do"
    if answer.issuer not in (None, issuer_url):
        return "it names another issuer"
    if answer.error is not None:
        told = answer.error if _ERROR.fullmatch(answer.error) else "an error"
        return f"the issuer says {told}"
    return None if answer.code else "it has no code"


def id_token_fault(claims: Mapping[str, object], client: Client, nonce: str) -> str | None:
    """Return why a token does not tell this client who has just signed in, as a sentence."""
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    if client.id not in listed:
        return "it is not for this registry"
    if (len(listed) > 1 or "azp" in claims) and claims.get("azp") != client.id:
        return "it was issued to another client"
    found = claims.get("nonce")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), nonce.encode()):
        return "it is not of this sign-in"
    return None


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
