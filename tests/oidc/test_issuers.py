"""Tokens of other issuers: their principals, and every reason to refuse one."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.identity.access import PrincipalKind
from app.domain.identity.oidc import Issuer
from app.main import app_of
from app.oidc.issuers import Issuers
from app.oidc.published_cache import PAUSE
from tests.oidc.issuing import AUDIENCE, an_ec_key, an_rsa_key, issuing
from tests.support.builders import World
from tests.support.session.in_process import InProcessClient

MAIN = {"repository": "acme/voice", "ref": "refs/heads/main"}


def trusted(issuer, **changes):
    """Return the configuration that trusts an issuer."""
    defaults = {
        "url": issuer.url,
        "audience": AUDIENCE,
        "kind": PrincipalKind.SERVICE,
        "algorithms": frozenset({"RS256", "ES256"}),
        "jwks_url": None,
        "max_age": timedelta(hours=1),
        "leeway": timedelta(seconds=30),
    }
    return Issuer(**defaults | changes)


@pytest.fixture(scope="module")
def issuers():
    with issuing("ci", "other", "people") as issuers:
        yield issuers


@pytest.fixture(scope="module")
def ci(issuers):
    return issuers[0]


@pytest.fixture(scope="module")
def federated(issuers, parts, tokens):
    """A registry that trusts three issuers, with a publisher bound to a job of the first."""
    ci, other, people = issuers
    known = Issuers([trusted(ci), trusted(other), trusted(people, kind=PrincipalKind.HUMAN)])
    app = app_of(replace(parts, issuers=known))
    with InProcessClient(app, raise_server_exceptions=False) as client:
        world = World(client, dict(tokens))
        world.job, _ = world.a_principal(None, ("publisher", world.namespace), kind="service")
        bind(world, world.job, (ci, MAIN))
        yield world


def bind(world, name, *identities, by="admin"):
    listed = [{"issuer": issuer.url, "claims": claims} for issuer, claims in identities]
    body = {"identities": listed}
    return world.call("PUT", f"/v1/principals/{name}/identities", by=by, json=body)


def me(world, token):
    return world.call("GET", "/v1/me", by=token)


def refusal(world, token):
    response = me(world, token)
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == "Bearer"
    return response.json()["detail"]


# Accepted tokens


def test_a_job_acts_as_the_principal_bound_to_its_claims(federated, ci):
    token = ci.token()

    assert me(federated, token).json()["name"] == federated.job
    body = {"namespace": federated.namespace, "name": "by-a-job", "owner": "admin"}
    assert federated.call("POST", "/v1/prefixes", by=token, json=body).status_code == 201
    subject = f"prefix:{federated.namespace}/by-a-job"
    assert [entry["principal"] for entry in federated.audit(subject)] == [federated.job]


def test_an_elliptic_curve_key_is_accepted(federated, ci, time):
    key = an_ec_key()
    ci.keys.append(key)
    assert me_after_a_pause(federated, ci.token(key=key), time) == 200


def me_after_a_pause(world, token, time):
    """Send a request at a time when the issuer's keys may be fetched again."""
    time.ahead = PAUSE + timedelta(seconds=1)
    return me(world, token).status_code


@pytest.mark.parametrize("header", [{"typ": None}, {"typ": "jwt"}, {"typ": "at+jwt"}], ids=str)
def test_the_usual_token_types_are_accepted(federated, ci, header):
    assert me(federated, ci.token(header=header)).status_code == 200


def test_the_hub_accepts_the_same_tokens(federated, ci):
    identity = federated.call("GET", "/api/whoami-v2", by=ci.token()).json()
    assert identity["name"] == federated.job


def test_api_tokens_still_work(federated):
    assert me(federated, "reader").json()["name"] == "reader"


def test_a_person_is_identified_by_a_verified_email(federated, issuers):
    people = issuers[2]
    name, _ = federated.a_principal()
    assert bind(federated, name, (people, {"email": "a@x.example", "email_verified": True}))
    claims_of_person = {"sub": "123", "email": "a@x.example"}

    assert (
        me(federated, people.token(**claims_of_person, email_verified=True)).json()["name"] == name
    )
    assert "bound to no principal" in refusal(federated, people.token(**claims_of_person))
    for unverified in ("true", 1, False):
        assert "no principal" in refusal(
            federated, people.token(**claims_of_person, email_verified=unverified)
        )


# Refused tokens


def unsigned(header, claims):
    segments = [base64.urlsafe_b64encode(json.dumps(each).encode()) for each in (header, claims)]
    return b".".join(segment.rstrip(b"=") for segment in segments).decode()


def with_no_algorithm(ci):
    return unsigned({"alg": "none", "kid": ci.keys[0].kid}, ci.claims()) + "."


def signed_with_the_public_key_as_secret(ci):
    start = unsigned({"alg": "HS256", "typ": "JWT", "kid": ci.keys[0].kid}, ci.claims())
    secret = ci.keys[0].as_pem(private=False)
    mac = hmac.new(secret, start.encode(), hashlib.sha256).digest()
    return f"{start}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def with_claims_changed_after_signing(ci):
    header, _, signature = ci.token().split(".")
    forged = unsigned({}, ci.claims(repository="evil/voice")).split(".")[1]
    return f"{header}.{forged}.{signature}"


def by_a_key_of_the_attacker(ci, **header):
    key = an_rsa_key(kid=ci.keys[0].kid)
    return ci.token(key=key, header=header)


def with_the_key_inside(ci):
    key = an_ec_key(kid=ci.keys[0].kid)
    return ci.token(key=key, header={"jwk": key.as_dict(private=False)})


def with_a_claim_given_twice(ci):
    text = json.dumps(ci.claims(repository="evil/voice"))
    return ci.token(payload=text[:-1] + ', "repository": "acme/voice"}')


def with_a_header_given_twice(ci):
    start = f'{{"alg": "none", "alg": "RS256", "kid": "{ci.keys[0].kid}"}}'.encode()
    header = base64.urlsafe_b64encode(start).decode().rstrip("=")
    return ".".join([header, *ci.token().split(".")[1:]])


HOUR = 3600
FORGED = {
    "alg-none": (with_no_algorithm, "signed with"),
    "hs256-with-the-public-key": (signed_with_the_public_key_as_secret, "signed with"),
    "claims-changed": (with_claims_changed_after_signing, "signature is wrong"),
    "another-key-of-that-name": (by_a_key_of_the_attacker, "signature is wrong"),
    "key-inside": (with_the_key_inside, "such key"),
    "jku": (lambda ci: by_a_key_of_the_attacker(ci, jku="http://127.0.0.1:1/"), "signature"),
    "x5u": (lambda ci: by_a_key_of_the_attacker(ci, x5u="http://127.0.0.1:1/"), "signature"),
    "claim-twice": (with_a_claim_given_twice, "malformed or ambiguous"),
    "header-twice": (with_a_header_given_twice, "malformed or ambiguous"),
    "crit": (lambda ci: ci.token(header={"crit": ["exp"], "exp": 1}), "extensions"),
    "b64": (lambda ci: ci.token(header={"b64": True}), "extensions"),
    "another-type": (lambda ci: ci.token(header={"typ": "dpop+jwt"}), "type"),
    "no-kid": (lambda ci: ci.token(header={"kid": None}), "name its key"),
    "kid-a-number": (lambda ci: ci.token(header={"kid": 7}), "name its key"),
    "kid-a-path": (lambda ci: ci.token(header={"kid": "../../../dev/null"}), "such key"),
    "kid-sql": (lambda ci: ci.token(header={"kid": "' OR 1=1 --"}), "such key"),
    "kid-a-url": (lambda ci: ci.token(header={"kid": "http://127.0.0.1:1/k"}), "such key"),
    "wrong-audience": (lambda ci: ci.token(aud="https://elsewhere.example"), "not for"),
    "more-audiences": (lambda ci: ci.token(aud=[AUDIENCE, "https://elsewhere.example"]), "alone"),
    "no-audience": (lambda ci: ci.token(aud=None), "not for"),
    "unknown-issuer": (lambda ci: ci.token(iss="https://evil.example"), "issuer is not configured"),
    "issuer-with-a-slash": (lambda ci: ci.token(iss=f"{ci.url}/"), "issuer is not configured"),
    "issuer-a-list": (lambda ci: ci.token(iss=[ci.url]), "issuer is not configured"),
    "expired": (lambda ci: ci.token(exp=ci.claims()["iat"] - 31), "expired"),
    "never-expires": (lambda ci: ci.token(exp=None), "when it expires"),
    "expires-in-words": (lambda ci: ci.token(exp="tomorrow"), "when it expires"),
    "expires-true": (lambda ci: ci.token(exp=True), "when it expires"),
    "not-yet": (lambda ci: ci.token(nbf=ci.claims()["iat"] + 60), "not valid yet"),
    "issued-in-the-future": (lambda ci: ci.token(iat=ci.claims()["iat"] + 60), "not valid yet"),
    "too-old": (lambda ci: ci.token(iat=ci.claims()["iat"] - HOUR - 60), "older"),
    "no-issue-time": (lambda ci: ci.token(iat=None), "when it was issued"),
    "no-subject": (lambda ci: ci.token(sub=None), "subject"),
    "not-an-object": (lambda ci: ci.token(payload="[]"), "malformed or ambiguous"),
    "endless": (lambda ci: ci.token(padding="x" * 9000), "neither"),
    "two-parts": (lambda ci: ci.token().rpartition(".")[0], "neither"),
    "not-base64": (lambda _: "a.b*.c", "malformed or ambiguous"),
    "marks-between-base64": (lambda ci: f"!!!!{ci.token()}", "malformed or ambiguous"),
    "padded": (lambda ci: ci.token().replace(".", "=.", 1), "malformed or ambiguous"),
    "another-branch": (lambda ci: ci.token(ref="refs/heads/evil"), "no principal"),
    "claim-a-list": (lambda ci: ci.token(ref=["refs/heads/main"]), "no principal"),
    "claim-missing": (lambda ci: ci.token(ref=None), "no principal"),
    "claim-with-nul": (lambda ci: ci.token(ref="refs/heads/main\x00"), "no principal"),
}


@pytest.mark.parametrize("name", FORGED)
def test_an_invalid_token_is_refused_with_the_reason(federated, ci, name):
    forge, reason = FORGED[name]
    assert reason in refusal(federated, forge(ci))


def test_a_token_of_another_trusted_issuer_with_the_same_claims_is_refused(federated, issuers):
    ci, other, _ = issuers
    assert "bound to no principal" in refusal(federated, other.token(sub=ci.claims()["sub"]))


def test_one_issuer_cannot_sign_for_another(federated, issuers):
    ci, other, _ = issuers
    foreign = other.token(iss=ci.url)
    assert "no such key" in refusal(federated, foreign)
    named = other.token(iss=ci.url, header={"kid": ci.keys[0].kid})
    assert "signature is wrong" in refusal(federated, named)


def test_no_url_in_a_token_is_fetched(federated, issuers):
    """The registry sends requests only to its configured issuers, and only for their keys."""
    ci, other, people = issuers
    refusal(federated, ci.token(iss=f"{ci.url}/named"))
    refusal(federated, by_a_key_of_the_attacker(ci, jku=f"{ci.url}/named"))
    refusal(federated, by_a_key_of_the_attacker(ci, kid="unknown", x5u=f"{ci.url}/named"))
    requested = {path for issuer in (ci, other, people) for path in issuer.asked}
    assert requested <= {".well-known/openid-configuration", "keys"}


def test_without_issuers_their_tokens_are_refused_like_any_other(world, ci):
    assert refusal(world, ci.token()) == "The bearer token is unknown, revoked or expired."


# Binding


def test_a_token_that_matches_two_principals_is_refused(federated, issuers):
    other = issuers[1]
    names = [federated.a_principal(kind="service")[0] for _ in range(2)]
    bind(federated, names[0], (other, {"repository": "acme/two"}))
    bind(federated, names[1], (other, {"repository": "acme/two", "ref": "refs/heads/main"}))

    assert "several principals" in refusal(federated, other.token(repository="acme/two"))

    loose = other.token(repository="acme/two", ref="refs/heads/x")
    assert me(federated, loose).json()["name"] == names[0]


def test_two_matching_identities_of_one_principal_are_not_ambiguous(federated, issuers):
    other = issuers[1]
    name, _ = federated.a_principal(kind="service")
    bind(federated, name, (other, {"repository": "b"}), (other, {"repository": "b", "ref": "r"}))
    assert me(federated, other.token(repository="b", ref="r")).json()["name"] == name


def test_identities_are_replaced_together_in_one_audit_entry(federated, issuers):
    other = issuers[1]
    name, _ = federated.a_principal(kind="service")
    bind(federated, name, (other, {"sub": "one"}), (other, {"sub": "two"}))
    before = federated.verification("registry")["entries"]

    shown = bind(federated, name, (other, {"sub": "two"}), (other, {"sub": "three"})).json()

    assert [each["claims"]["sub"] for each in shown["identities"]] in (
        ["two", "three"],
        ["three", "two"],
    )
    entry = federated.last_entry("registry")
    assert (entry["action"], entry["sequence"]) == ("identities.set", before + 1)
    assert entry["facts"]["identities"][1] == {"issuer": other.url, "claims": {"sub": "three"}}
    assert "no principal" in refusal(federated, other.token(sub="one"))
    for subject in ("two", "three"):
        assert me(federated, other.token(sub=subject)).json()["name"] == name


def test_grants_of_a_job_apply_from_the_next_request(federated, issuers):
    other = issuers[1]
    name, _ = federated.a_principal(kind="service")
    bind(federated, name, (other, {"sub": "job-9"}))
    body = {"principal": name, "grants": [{"role": "reader", "namespace": "acme"}]}
    federated.made("PUT", "/v1/grants", by="admin", json=body)
    assert me(federated, other.token(sub="job-9")).json()["grants"] == body["grants"]


def test_tokens_of_a_deactivated_principal_are_refused(federated, issuers):
    other = issuers[1]
    name, _ = federated.a_principal(kind="service")
    bind(federated, name, (other, {"sub": "leaver"}))
    assert me(federated, other.token(sub="leaver")).status_code == 200

    federated.call("DELETE", f"/v1/principals/{name}", by="admin")

    assert "no principal" in refusal(federated, other.token(sub="leaver"))
    response = bind(federated, name, (other, {"sub": "leaver"}))
    assert response.json()["type"] == "/problems/principal-deactivated"


def test_an_identity_belongs_to_one_principal(federated, issuers):
    other = issuers[1]
    first, second = (federated.a_principal(kind="service")[0] for _ in range(2))
    bind(federated, first, (other, {"sub": "mine"}))
    response = bind(federated, second, (other, {"sub": "mine"}))
    assert (response.status_code, first in response.text) == (409, True)


def test_a_job_never_acts_as_a_person(federated, ci):
    person, _ = federated.a_principal()
    response = bind(federated, person, (ci, {"sub": "a job"}))
    assert response.json()["faults"][0]["code"] == "identity-kind"
    assert "no principal" in refusal(federated, ci.token(sub="a job", ref="else"))


def test_an_identity_of_an_unknown_issuer_is_refused(federated, ci):
    name, _ = federated.a_principal(kind="service")
    body = {"identities": [{"issuer": f"{ci.url}/", "claims": {"sub": "x"}}]}
    response = federated.call("PUT", f"/v1/principals/{name}/identities", by="admin", json=body)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/unknown-reference")


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({}, id="none"),
        pytest.param({"aud": "x"}, id="audience"),
        pytest.param({"sub": "x", "exp": "1"}, id="expiry"),
        pytest.param({"email": "a@x.example"}, id="email-unverified"),
        pytest.param({"email": "a@x.example", "email_verified": "true"}, id="verified-in-words"),
        pytest.param({"sub": ""}, id="empty"),
        pytest.param({"sub": 7}, id="number"),
        pytest.param({"sub": None}, id="null"),
        pytest.param({"sub": ["x"]}, id="list"),
        pytest.param({"sub": "x\x00"}, id="nul"),
    ],
)
def test_unsuitable_identity_claims_are_refused(federated, ci, claims):
    response = bind(federated, federated.job, (ci, claims))
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
    assert me(federated, ci.token()).json()["name"] == federated.job


def test_a_persons_identity_is_refused_once_its_issuer_is_configured_for_jobs(
    federated, issuers, world_on
):
    people = issuers[2]
    person, _ = federated.a_principal()
    bind(federated, person, (people, {"sub": "somebody"}))
    token = people.token(sub="somebody")
    assert me(federated, token).json()["name"] == person

    reconfigured = world_on(issuers=Issuers([trusted(people)]))

    assert "no principal" in refusal(reconfigured, token)
