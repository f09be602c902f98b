"""Tokens of external issuers: when one is trusted, and which claims identify a principal."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeGuard

from app.domain.identity.access import PrincipalKind
from app.domain.identity.oidc_login import Client

Claim = str | bool
Claims = Mapping[str, Claim]

# The type of key that each algorithm takes, and its curve if it has one. HS256 is missing because
# every verifier that shares the secret could sign, and `none` because it signs nothing.
KEYS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "Ed25519": ("OKP", "Ed25519"),
}

# These claims state whether a token is valid, not which bearer it belongs to.
UNBINDABLE_CLAIMS: Final = frozenset({"iss", "aud", "azp", "exp", "nbf", "iat", "jti", "nonce"})

ID_TOKEN_TYPES: Final = frozenset({"jwt"})
BEARER_TYPES: Final = ID_TOKEN_TYPES | {"at+jwt", "application/at+jwt"}

_KEY_ID_CHARACTERS: Final = 256
_CLAIM_CHARACTERS: Final = 1024


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer whose tokens are accepted, and the conditions for accepting them.

    Its tokens identify principals of one `kind` only, so that no job can act as a person.
    Without `jwks_url` the issuer's discovery document locates the keys. People can sign in to the
    pages through an issuer that has registered this registry as a `client`.
    """

    url: str
    audience: str
    kind: PrincipalKind
    algorithms: frozenset[str]
    jwks_url: str | None
    max_age: timedelta
    leeway: timedelta
    client: Client | None = None

    def __post_init__(self) -> None:
        if not self.algorithms or not self.algorithms <= KEYS.keys():
            raise ValueError(f"the algorithms must be some of {', '.join(KEYS)}")


@dataclass(frozen=True, slots=True)
class FederatedIdentity:
    """A bearer of the issuer's tokens, identified by claims that must all match exactly."""

    issuer: str
    claims: Claims

    def __post_init__(self) -> None:
        if fault := identity_fault(self.claims):
            raise ValueError(fault)

    def matches(self, claims: Mapping[str, object]) -> bool:
        """Return whether a verified token has these claims; `true` is neither "true" nor 1."""
        return all(
            name in claims and _is_same(claims[name], value) for name, value in self.claims.items()
        )


def identity_fault(claims: Claims) -> str | None:
    """Return why claims cannot distinguish one bearer from others, as a sentence."""
    if not claims:
        return "name at least one claim, or every token of the issuer would match"
    if unfit := sorted(UNBINDABLE_CLAIMS & claims.keys()):
        return f"{', '.join(unfit)} cannot identify a bearer"
    if "email" in claims and claims.get("email_verified") is not True:
        return "the claim email needs the claim email_verified: true beside it"
    return None


def comparable_claims(claims: Mapping[str, object]) -> dict[str, Claim]:
    """Return the claims that an identity can name: short printable strings, and booleans."""
    return {
        name: value
        for name, value in claims.items()
        if isinstance(value, bool)
        or (isinstance(value, str) and len(value) <= _CLAIM_CHARACTERS and value.isprintable())
        if name.isprintable()
    }


def header_fault(
    header: Mapping[str, object], issuer: Issuer, types: Collection[str] = BEARER_TYPES
) -> str | None:
    """Return why a token's header is refused, as a sentence.

    Keys and key locations in the header (`jku`, `jwk`, `x5u`, `x5c`) are always ignored.
    """
    if header.get("alg") not in issuer.algorithms:
        return f"it must be signed with {' or '.join(sorted(issuer.algorithms))}"
    if "crit" in header or "b64" in header:
        return "it demands extensions that are not supported"
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in types:
        return "its type is not JWT"
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= _KEY_ID_CHARACTERS:
        return "it does not name its key"
    return None


def claims_fault(claims: Mapping[str, object], issuer: Issuer, now: datetime) -> str | None:
    """Return why a token with a valid signature is still refused, as a sentence."""
    if claims.get("aud") not in (issuer.audience, [issuer.audience]):
        return f"it is not for {issuer.audience} alone"
    return origin_fault(claims, issuer, now)


def origin_fault(claims: Mapping[str, object], issuer: Issuer, now: datetime) -> str | None:
    """Return why claims are not a current statement of the issuer, for any audience."""
    if claims.get("iss") != issuer.url:
        return "it is from another issuer"
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        return "it has no subject"
    return _time_fault(claims, issuer, now.timestamp())


def _time_fault(claims: Mapping[str, object], issuer: Issuer, now_s: float) -> str | None:
    leeway_s, max_age_s = issuer.leeway.total_seconds(), issuer.max_age.total_seconds()
    expires, issued = claims.get("exp"), claims.get("iat")
    starts = claims.get("nbf", issued)
    if not (_is_moment(expires) and _is_moment(issued) and _is_moment(starts)):
        return "it does not say when it was issued and when it expires"
    if now_s >= expires + leeway_s:
        return "it has expired"
    if now_s < max(issued, starts) - leeway_s:
        return "it is not valid yet"
    if now_s >= issued + max_age_s + leeway_s:
        return f"it is older than the {max_age_s:.0f} seconds that are accepted"
    return None


def valid_until(claims: Mapping[str, object], issuer: Issuer) -> datetime:
    """Return when a verified token ends: at its expiry or at the issuer's longest age.

    Raises:
        TypeError: The claims were not verified, so they do not say when.
    """
    expires, issued = claims.get("exp"), claims.get("iat")
    if not (_is_moment(expires) and _is_moment(issued)):
        raise TypeError("the claims of a verified token say when it was issued and expires")
    ends = min(expires, issued + issuer.max_age.total_seconds()) + issuer.leeway.total_seconds()
    return datetime.fromtimestamp(ends, UTC)


def _is_moment(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_same(found: object, expected: Claim) -> bool:
    return type(found) is type(expected) and found == expected
