"""Login through an issuer: the authorisation request, and the checks of its response.

The authorisation code grant (RFC 6749 §4.1, OpenID Connect Core §3.1) with PKCE (RFC 7636) and the
additional measures of RFC 9700: a response is bound to one browser, one issuer and one use.
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
    """This registry's registration as a client of an issuer through which people sign in.

    Each issuer has a separate `redirect_uri`, so that a response of another issuer cannot pass
    for one of its responses, even if these do not name their issuer. Without the two URLs the
    issuer's discovery document locates the endpoints.
    """

    name: str
    id: str
    redirect_uri: str
    secret: str | None = field(default=None, repr=False)
    authorization_url: str | None = None
    token_url: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """Values derived from a secret that only the browser that began the login holds.

    A forged response therefore fails at the issuer and here, and no table stores a verifier.
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
        """Return the verifier's S256 challenge, which the authorisation request carries."""
        return _encoded(hashlib.sha256(self.verifier.encode()).digest())

    def _derived(self, purpose: bytes) -> str:
        return _encoded(hmac.digest(self.secret.encode(), purpose, "sha256"))


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """The parameters with which an issuer sends a browser back; anyone can forge them."""

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None


def authorization_request(url: str, client: Client, proof: Proof, state: str) -> str:
    """Return the URL to which a browser is sent for login; `url` may already have a query."""
    query = urlencode(
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
    return f"{url}{'&' if '?' in url else '?'}{query}"


def authorization_response_fault(
    response: AuthorizationResponse, issuer_url: str, *, names_itself: bool
) -> str | None:
    """Return why a response cannot be accepted, as a sentence about it.

    `names_itself` means that the issuer promised to name itself in every response (RFC 9207).
    """
    if response.issuer is None and names_itself:
        return "it does not name its issuer, although that issuer's responses always do"
    if response.issuer not in (None, issuer_url):
        return "it names another issuer"
    if response.error is not None:
        error = response.error if _ERROR.fullmatch(response.error) else "an error"
        return f"the issuer reports {error}"
    return None if response.code else "it has no code"


def id_token_fault(claims: Mapping[str, object], client: Client, nonce: str) -> str | None:
    """Return why an ID token is not this client's proof of the current login, as a sentence."""
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    if client.id not in listed:
        return "it is not for this registry"
    if (len(listed) > 1 or "azp" in claims) and claims.get("azp") != client.id:
        return "it was issued to another client"
    found = claims.get("nonce")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), nonce.encode()):
        return "it does not belong to this login"
    return None


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
