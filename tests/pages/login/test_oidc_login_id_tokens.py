"""ID tokens: what an issuer must say, to us and of this sign-in."""

from functools import partial

import pytest

from tests.oidc.desk import CLIENT_ID
from tests.oidc.issuing import an_rsa_key
from tests.pages.login.travelling import onward, refusal

UNFIT = {
    "another-audience": ({"aud": "https://elsewhere.example"}, "not for this registry"),
    "our-api": ({"aud": "https://registry.example"}, "not for this registry"),
    "no-audience": ({"aud": None}, "not for this registry"),
    "audience-an-object": ({"aud": {CLIENT_ID: 1}}, "not for this registry"),
    "several-without-azp": ({"aud": [CLIENT_ID, "other"]}, "another client"),
    "several-with-azp": ({"aud": [CLIENT_ID, "other"], "azp": "other"}, "another client"),
    "azp": ({"azp": "other"}, "another client"),
    "azp-null": ({"azp": 0}, "another client"),
    "nonce": ({"nonce": "of another sign-in"}, "not belong to this login"),
    "no-nonce": ({"nonce": None}, "not belong to this login"),
    "nonce-a-list": ({"nonce": ["x"]}, "not belong to this login"),
    "expired": ({"exp": 1}, "expired"),
    "too-old": ({"iat": 1, "nbf": None}, "older"),
    "no-subject": ({"sub": None}, "no subject"),
    "unknown-issuer": ({"iss": "https://evil.example"}, "no issuer that is configured"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_id_token_that_is_not_for_us_now_and_for_this_sign_in_is_refused(
    traveller, people, name
):
    people.desk.claims, said = UNFIT[name]
    told = refusal(traveller.back(traveller.subject))
    assert told.startswith("You are not signed in.")
    assert said in told
    assert not traveller.is_in()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        pytest.param({"typ": "at+jwt"}, "type is not JWT", id="an-access-token"),
        pytest.param({"kid": "another"}, "no such key", id="key"),
        pytest.param({"crit": ["exp"]}, "extensions", id="crit"),
    ],
)
def test_an_id_token_of_another_kind_is_refused(traveller, people, header, said):
    people.desk.header = header
    assert said in refusal(traveller.back(traveller.subject))


def test_an_id_token_that_somebody_else_signed_is_refused(traveller, people, issuers, monkeypatch):
    onward(traveller.back(traveller.subject))
    forged = an_rsa_key(kid=people.keys[0].kid)
    monkeypatch.setattr(people, "token", partial(people.token, key=forged))
    assert "signature is wrong" in refusal(traveller.back(traveller.subject))
    monkeypatch.setattr(people, "token", issuers[1].token)
    assert "it is from another issuer" in refusal(traveller.back(traveller.subject))


@pytest.mark.parametrize(
    "claims",
    [{"aud": [CLIENT_ID]}, {"aud": ["x", CLIENT_ID], "azp": CLIENT_ID}, {"azp": CLIENT_ID}],
    ids=["a-list", "several", "azp"],
)
def test_an_id_token_that_names_us_in_another_way_is_read(traveller, people, claims):
    people.desk.claims = claims
    assert onward(traveller.back(traveller.subject)) == "/admin/"
