"""Tokens of external issuers: when one is trusted, and which claims identify a principal."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.identity.access import PrincipalKind
from app.domain.identity.oidc import (
    KEYS,
    FederatedIdentity,
    Issuer,
    claims_fault,
    comparable_claims,
    header_fault,
    identity_fault,
    valid_until,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
S = int(NOW.timestamp())
CLAIMS = {"iss": "https://ci.example", "aud": "us", "sub": "job", "iat": S, "exp": S + 300}
HEADER = {"alg": "RS256", "kid": "k", "typ": "JWT"}


def an_issuer(algorithms=("RS256",)):
    return Issuer(
        url="https://ci.example",
        audience="us",
        kind=PrincipalKind.SERVICE,
        algorithms=frozenset(algorithms),
        jwks_url=None,
        max_age=timedelta(seconds=600),
        leeway=timedelta(seconds=30),
    )


def changed(document, changes):
    return {name: value for name, value in (document | changes).items() if value is not None}


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256",), ("RS256", "HS512")], ids=str)
def test_an_issuer_can_use_neither_a_shared_secret_nor_the_algorithm_none(algorithms):
    with pytest.raises(ValueError, match="algorithms"):
        an_issuer(algorithms)


def test_every_algorithm_takes_a_key_pair():
    assert {kind for kind, _ in KEYS.values()} == {"RSA", "EC", "OKP"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({}, None, id="good"),
        pytest.param({"aud": ["us"]}, None, id="audience-in-a-list"),
        pytest.param({"exp": S - 29}, None, id="expired-within-the-leeway"),
        pytest.param({"exp": S - 30}, "expired", id="expired"),
        pytest.param({"nbf": S + 30}, None, id="starts-within-the-leeway"),
        pytest.param({"nbf": S + 31}, "not valid yet", id="starts-later"),
        pytest.param({"iat": S + 30}, None, id="issued-within-the-leeway"),
        pytest.param({"iat": S + 31}, "not valid yet", id="issued-later"),
        pytest.param({"iat": S + 31, "nbf": S}, "not valid yet", id="issued-later-yet-valid"),
        pytest.param({"iat": S - 629}, None, id="old-within-the-leeway"),
        pytest.param({"iat": S - 630}, "older than the 600 seconds", id="too-old"),
        pytest.param({"exp": float(S + 1)}, None, id="a-fraction-is-a-time"),
        pytest.param({"exp": True}, "when it", id="true-is-not-a-time"),
        pytest.param({"nbf": "now"}, "when it", id="a-word-is-not-a-time"),
        pytest.param({"exp": None}, "when it", id="never-expires"),
        pytest.param({"iss": "https://ci.example/"}, "another issuer", id="almost-the-issuer"),
        pytest.param({"aud": ["us", "them"]}, "us alone", id="for-others-too"),
        pytest.param({"aud": "US"}, "us alone", id="another-case"),
        pytest.param({"aud": []}, "us alone", id="for-no-audience"),
        pytest.param({"sub": ""}, "subject", id="empty-subject"),
        pytest.param({"sub": 7}, "subject", id="subject-a-number"),
    ],
)
def test_claims_are_checked_exactly(changes, fault):
    found = claims_fault(changed(CLAIMS, changes), an_issuer(), NOW)
    assert found is None if fault is None else fault in found


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({}, None, id="good"),
        pytest.param({"typ": None}, None, id="no-type"),
        pytest.param({"typ": "application/at+JWT"}, None, id="an-access-token"),
        pytest.param({"jku": "https://evil.example", "jwk": {}, "x5u": "x"}, None, id="ignored"),
        pytest.param({"alg": "RS512"}, "signed with RS256", id="another-algorithm"),
        pytest.param({"alg": "rs256"}, "signed with", id="another-case"),
        pytest.param({"alg": None}, "signed with", id="no-algorithm"),
        pytest.param({"crit": []}, "extensions", id="crit"),
        pytest.param({"b64": False}, "extensions", id="b64"),
        pytest.param({"typ": "JWE"}, "type", id="another-type"),
        pytest.param({"typ": 7}, "type", id="type-a-number"),
        pytest.param({"kid": None}, "key", id="no-key"),
        pytest.param({"kid": ""}, "key", id="empty-key"),
        pytest.param({"kid": "k" * 257}, "key", id="endless-key"),
    ],
)
def test_headers_are_checked_exactly(changes, fault):
    found = header_fault(changed(HEADER, changes), an_issuer())
    assert found is None if fault is None else fault in found


@pytest.mark.parametrize(
    ("wanted", "claims", "matches"),
    [
        pytest.param({"a": "1"}, {"a": "1", "b": "2"}, True, id="among-others"),
        pytest.param({"a": "1", "b": "2"}, {"a": "1"}, False, id="one-missing"),
        pytest.param({"a": "1"}, {"a": "1 "}, False, id="almost"),
        pytest.param({"a": "1"}, {"a": 1}, False, id="number-for-text"),
        pytest.param({"a": "1"}, {"a": ["1"]}, False, id="list-with-it"),
        pytest.param({"a": True}, {"a": True}, True, id="true"),
        pytest.param({"a": True}, {"a": 1}, False, id="one-is-not-true"),
        pytest.param({"a": True}, {"a": "true"}, False, id="a-word-is-not-true"),
        pytest.param({"a": False}, {}, False, id="absent-is-not-false"),
    ],
)
def test_an_identity_matches_only_exactly_equal_values(wanted, claims, matches):
    assert FederatedIdentity("https://ci.example", wanted).matches(claims) is matches


texts = st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.booleans(), max_size=4)


@given(texts.filter(lambda claims: identity_fault(claims) is None), texts)
def test_more_claims_never_unmatch_and_fewer_never_match(wanted, others):
    identity = FederatedIdentity("https://ci.example", wanted)
    assert identity.matches(others | wanted)
    for name in wanted:
        assert not identity.matches({key: value for key, value in wanted.items() if key != name})


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": "x"},
        {"sub": "x", "iss": "y"},
        {"email": "a@x"},
        {"email": "a@x", "email_verified": False},
    ],
    ids=str,
)
def test_claims_that_cannot_identify_a_bearer_are_refused(claims):
    with pytest.raises(ValueError, match=r"\w"):
        FederatedIdentity("https://ci.example", claims)


def test_only_strings_and_booleans_are_compared():
    claims = {
        "text": "a",
        "true": True,
        "number": 1,
        "list": ["a"],
        "null": None,
        "nul": "a\x00",
        "long": "a" * 1025,
        "a\x00": "name",
    }
    assert comparable_claims(claims) == {"text": "a", "true": True}


@pytest.mark.parametrize(
    ("expires_s", "ends_s"), [(300, 300), (7200, 600)], ids=["its-expiry", "the-longest-age"]
)
def test_a_verified_token_ends_at_the_instant_from_which_it_is_refused(expires_s, ends_s):
    issuer = an_issuer()
    claims = CLAIMS | {"exp": S + expires_s}
    ends = valid_until(claims, issuer)
    assert ends == NOW + timedelta(seconds=ends_s) + issuer.leeway
    assert claims_fault(claims, issuer, ends - timedelta(milliseconds=1)) is None
    assert claims_fault(claims, issuer, ends) is not None


def test_claims_that_were_not_verified_have_no_end():
    with pytest.raises(TypeError, match="verified"):
        valid_until({"exp": "soon"}, an_issuer())
