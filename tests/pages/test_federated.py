"""Signing in through an issuer: the whole way, and every way in which it leads nowhere."""

import html
import logging
import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.deps import clock
from app.domain.access import PrincipalKind
from app.domain.signing_in import ATTEMPT_LIFETIME, Client
from app.main import app_of
from app.oidc.issuers import Issuers
from app.services import federated_sign_in, web_sessions
from tests.builders import World
from tests.conftest import Clock
from tests.oidc.desk import CLIENT_ID
from tests.oidc.issuing import an_rsa_key, issuing
from tests.oidc.test_tokens import bind, trusted
from tests.pages.test_sessions import Person, rows
from tests.racing import at_once

SHARED = "s: +/%\N{LATIN SMALL LETTER A WITH DIAERESIS}"  # what only an encoding keeps apart
ONWARD = re.compile(r'<meta http-equiv="refresh" content="0; url=([^"]+)">')
ALERT = re.compile(r'role="alert"[^>]*>(.*?)</div>', re.DOTALL)


def signed_in_through(issuer, name="people", url="http://testserver", **client):
    """Return the configuration by which people sign in through an issuer."""
    issuer.desk.redirect_uri = f"{url}/admin/sign-in/{name}/callback"
    issuer.desk.secret = client.get("secret")
    ours = Client(name, CLIENT_ID, issuer.desk.redirect_uri, **client)
    return trusted(issuer, kind=PrincipalKind.HUMAN, client=ours)


class Traveller(Person):
    """Somebody whose browser goes to the issuer and comes back."""

    def __init__(self, client, issuer):
        super().__init__(client, None)
        self.issuer = issuer

    def depart(self, name="people", **fields):
        fields = {"mark": self.mark("/admin/sign-in")} | fields
        return self.post(f"/admin/sign-in/{name}", **fields)

    def sent_to(self, **fields):
        response = self.depart(**fields)
        assert response.status_code == 200, response.text
        return onward(response)

    def back(self, subject="alice", **fields):
        """Go to the issuer, sign in there, and come back."""
        return self.come(self.issuer.desk.agreed(self.sent_to(**fields), subject))

    def come(self, url, **changes):
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query)) | changes
        return self.get(parts.path, params={k: v for k, v in query.items() if v is not None})


def onward(response):
    return html.unescape(ONWARD.search(response.text).group(1))


def refusal(response, status=401):
    """Return why nobody was signed in; the page must be the one to sign in on."""
    assert response.status_code == status, response.text
    assert '<button type="submit">Sign in with people</button>' in response.text
    assert "registry_session=" not in response.headers["set-cookie"]
    (alert,) = ALERT.findall(response.text)
    return html.unescape(re.sub(r"<[^>]*>", "", alert)).strip()


@pytest.fixture(scope="module")
def issuers():
    with issuing("people", "staff") as served:
        yield served


@pytest.fixture
def people(issuers):
    for issuer in issuers:
        issuer.recover()
    return issuers[0]


@pytest.fixture(scope="module")
def registry(parts, tokens):
    """A registry of which a test says which issuers it is to be configured with."""
    app = app_of(parts)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield World(client, tokens)


@pytest.fixture
def world(registry, people, issuers, parts):
    configure(registry, signed_in_through(people), signed_in_through(issuers[1], "staff"))
    return registry


def configure(world, *configured):
    """Start again with these issuers, and nothing remembered of them."""
    app = world.client.app
    for each in (app, pages_in(app)):
        each.state.parts = replace(each.state.parts, issuers=Issuers(configured))


def pages_in(app):
    (pages,) = (route.app.app for route in app.routes if getattr(route, "name", "") == "pages")
    return pages


@pytest.fixture
def traveller(world, people):
    """Somebody whom an admin has bound to a person, an approver."""
    name, _ = world.a_principal(None, ("approver", world.namespace))
    subject = f"subject of {name}"
    assert bind(world, name, (people, {"sub": subject})).status_code == 200
    person = Traveller(world.client, people)
    person.name, person.subject = name, subject
    person.client.base_url = "http://testserver"
    return person


@pytest.fixture
def page_time(world):
    moving = Clock()
    app = world.client.app
    for each in (app, pages_in(app)):
        each.dependency_overrides[clock] = moving
    yield moving
    for each in (app, pages_in(app)):
        del each.dependency_overrides[clock]


# The whole way


def test_whoever_signs_in_at_the_issuer_is_let_in_as_whom_the_claims_mean(traveller, world):
    response = traveller.back(traveller.subject, next="/admin/reviews?cursor=x")

    assert response.status_code == 200
    assert onward(response) == "/admin/reviews?cursor=x"
    assert response.headers["referrer-policy"] == "no-referrer"
    kept = [each for each in response.headers.get_list("set-cookie") if "_session=" in each]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(kept[0].split("; "))
    assert traveller.name in traveller.get("/admin/").text
    opened = world.last_entry("registry")
    assert (opened["action"], opened["principal"]) == ("session.open", traveller.name)
    assert opened["facts"].keys() == {"session_id", "identity_id", "issuer"}


def test_the_issuer_is_asked_with_pkce_and_to_lead_back_to_the_configured_address(traveller):
    mark = traveller.mark("/admin/sign-in")
    response = traveller.client.post(
        "/admin/sign-in/people", data={"mark": mark}, headers={"Host": "evil.example"}
    )
    first, second = (
        parse_qs(urlsplit(url).query) for url in (onward(response), traveller.sent_to())
    )
    assert first["redirect_uri"] == ["http://testserver/admin/sign-in/people/callback"]
    assert (first["code_challenge_method"], first["response_type"]) == (["S256"], ["code"])
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_ties_the_way_back_to_the_browser_is_lax_short_and_closed(traveller, scheme):
    traveller.client.base_url = f"{scheme}://testserver"
    left = traveller.depart().headers.get_list("set-cookie")
    (cookie,) = (each for each in left if "attempt=" in each)
    prefix, secure = ("__Host-", {"Secure"}) if scheme == "https" else ("", set())
    assert cookie.startswith(f"{prefix}registry_sign_in_attempt=")
    assert {"HttpOnly", "SameSite=Lax", "Max-Age=600", "Path=/"} | secure == set(
        cookie.split("; ")[1:]
    )


def test_neither_state_nor_nonce_nor_verifier_is_in_a_table(traveller, sessions):
    asked = parse_qs(urlsplit(traveller.sent_to()).query)
    cookie = traveller.client.cookies["registry_sign_in_attempt"]
    with sessions() as session:
        attempt = federated_sign_in.SignInAttempt
        kept = str([vars(row) for row in session.scalars(select(attempt))])
    assert "state_hash" in kept
    for secret in (asked["state"][0], asked["nonce"][0], cookie):
        assert secret not in kept


def test_pages_on_the_way_keep_the_strict_policy_and_hold_nothing_inline(traveller):
    for response in (traveller.get("/admin/sign-in"), traveller.depart(), traveller.back()):
        policy = response.headers["content-security-policy"]
        assert "form-action 'self';" in policy
        assert "unsafe" not in policy
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=", response.text) == []


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        pytest.param("https://evil.example/admin/", "/admin/", id="another-host"),
        pytest.param("//evil.example/admin/", "/admin/", id="another-host-without-scheme"),
        pytest.param("/\\evil.example/admin/", "/admin/", id="backslash"),
        pytest.param("/v1/prefixes", "/admin/", id="not-a-page"),
        pytest.param("javascript:alert(1)", "/admin/", id="script"),
        pytest.param('/admin/"><script>', '/admin/"><script>', id="markup-is-inert"),
    ],
)
def test_the_way_ends_on_pages_of_this_registry_only(traveller, target, goes):
    response = traveller.back(traveller.subject, next=target)
    assert onward(response) == goes
    assert "<script>" not in response.text


@pytest.mark.parametrize(
    ("methods", "used"),
    [
        pytest.param(None, "basic", id="unsaid"),
        pytest.param(["client_secret_basic", "client_secret_post"], "basic", id="both"),
        pytest.param(["client_secret_post"], "post", id="in-the-form"),
    ],
)
def test_a_client_with_a_secret_shows_it_to_its_issuer_alone(
    traveller, world, people, methods, used, caplog
):
    caplog.set_level(logging.DEBUG)
    people.discovery["token_endpoint_auth_methods_supported"] = methods
    configured = signed_in_through(people, secret=SHARED)
    assert "s: +" not in repr(configured)
    configure(world, configured)
    assert onward(traveller.back(traveller.subject)) == "/admin/"
    people.desk.secret = SHARED[::-1]
    assert "does not confirm" in refusal(traveller.back(traveller.subject))
    assert people.desk.authenticated == [used, used]
    assert "invalid_client" in caplog.text
    assert not re.search(r"s: \+|\+ :s|s%3A", caplog.text)


def test_endpoints_can_be_configured_and_may_have_a_query(traveller, world, people):
    configured = signed_in_through(
        people,
        authorization_url=f"{people.url}/authorize?tenant=acme",
        token_url=f"{people.url}/token",
    )
    configure(world, configured)
    url = traveller.sent_to()
    assert url.startswith(f"{people.url}/authorize?tenant=acme&response_type=code&")
    assert people.asked == []


# The way there


@pytest.mark.parametrize("mark", ["", "made up"], ids=["missing", "wrong"])
def test_no_other_site_begins_a_sign_in_for_somebody(traveller, people, mark):
    response = traveller.depart(mark=mark)
    assert "too old" in refusal(response, 403)
    assert "attempt=" not in response.headers["set-cookie"]
    assert traveller.get("/admin/sign-in/people").status_code == 303
    assert people.asked == []


@pytest.mark.parametrize("ill", ["down", "failing", "garbage", "huge", "moved"])
def test_an_issuer_that_is_away_is_told_of_and_nobody_is_sent_there(traveller, people, ill):
    people.ill = ill
    assert "does not answer now" in refusal(traveller.depart(), 503)


@pytest.mark.parametrize(
    "discovery",
    [
        pytest.param({"issuer": "https://another.example"}, id="of-another-issuer"),
        pytest.param({"token_endpoint": "http://169.254.169.254/token"}, id="another-host"),
        pytest.param({"token_endpoint": "http://127.0.0.1:1/token"}, id="another-port"),
        pytest.param({"token_endpoint": "http://127.0.0.1:999999/"}, id="no-port"),
        pytest.param({"token_endpoint": "file:///etc/passwd"}, id="a-file"),
        pytest.param({"token_endpoint": None}, id="none"),
        pytest.param({"authorization_endpoint": "https://evil.example/"}, id="phishing"),
        pytest.param({"authorization_endpoint": "javascript:alert(1)"}, id="script"),
        pytest.param({"authorization_endpoint": ["x"]}, id="a-list"),
        pytest.param({"authorization_endpoint": "http://evil\\@{host}/"}, id="backslash"),
        pytest.param({"authorization_endpoint": "http://me@{host}/"}, id="a-user"),
        pytest.param({"authorization_endpoint": "http://{host}/#x"}, id="fragment"),
    ],
)
def test_discovery_leads_people_and_codes_to_no_other_server(traveller, people, discovery):
    host = urlsplit(people.url).netloc
    for name, value in discovery.items():
        people.discovery[name] = value.format(host=host) if isinstance(value, str) else value
    assert "does not answer now" in refusal(traveller.depart(), 503)
    assert set(people.asked) == {".well-known/openid-configuration"}


def test_endpoints_are_asked_for_once_in_a_while_and_outlive_a_short_illness(
    traveller, people, page_time
):
    traveller.sent_to()
    traveller.sent_to()
    assert len(people.asked) == 1
    people.ill = "failing"
    page_time.ahead = timedelta(minutes=10)
    traveller.sent_to()
    page_time.ahead = timedelta(minutes=16)
    refusal(traveller.depart(), 503)


# The way back


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"state": "made up"}, "not the one that this browser began", id="state"),
        pytest.param({"state": None}, "not the one that this browser began", id="no-state"),
        pytest.param({"state": ["a", "b"]}, "not the one that", id="two-states"),
        pytest.param({"iss": "https://evil.example"}, "names another issuer", id="iss"),
        pytest.param({"iss": None}, "does not name its issuer", id="no-iss"),
        pytest.param({"code": None}, "has no code", id="no-code"),
        pytest.param({"code": "x" * 5000}, "has no code", id="endless-code"),
        pytest.param({"code": "made up"}, "does not confirm this sign-in", id="code"),
        pytest.param({"code": None, "error": "access_denied"}, "says access_denied", id="denied"),
        pytest.param({"error": "<b>Call me</b>"}, "the issuer says an error", id="hostile-error"),
    ],
)
def test_an_answer_that_does_not_hold_lets_nobody_in_and_says_why(
    traveller, people, sessions, changes, said
):
    before = len(rows(sessions))
    response = traveller.come(people.desk.agreed(traveller.sent_to(), traveller.subject), **changes)
    assert said in refusal(response)
    assert not traveller.is_in()
    assert len(rows(sessions)) == before


def test_an_answer_counts_once(traveller, people):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    cookie = traveller.client.cookies["registry_sign_in_attempt"]
    traveller.come(url, code="made up")
    traveller.client.cookies.set("registry_sign_in_attempt", cookie)
    assert "used already" in refusal(traveller.come(url))
    assert people.asked.count("token") == 1, "the code is not even tried"


def test_of_two_answers_at_once_one_counts(traveller, people, parts, world):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    state = parse_qs(urlsplit(url).query)["state"][0]
    cookie = traveller.client.cookies["registry_sign_in_attempt"]
    known = world.client.app.state.parts.issuers

    def take():
        try:
            return federated_sign_in.taken(
                parts.sessions, known, name="people", state=state, cookie=cookie, now=clock()
            )
        except federated_sign_in.UnauthenticatedError:
            return None

    assert sum(each is not None for each in at_once(*[take] * 6)) == 1


@pytest.mark.parametrize("cookie", [None, "of the attacker"], ids=["none", "another"])
def test_an_answer_is_of_no_use_in_another_browser(traveller, people, cookie):
    """Else whoever sends somebody a link would sign them in as themselves, or take their code."""
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    traveller.client.cookies.clear()
    if cookie is not None:
        traveller.client.cookies.set("registry_sign_in_attempt", cookie)
    assert "not the one that this browser began" in refusal(traveller.come(url))
    assert "token" not in people.asked


def test_a_sign_in_takes_ten_minutes_at_most(traveller, people, page_time):
    for late, said in ((timedelta(seconds=5), None), (timedelta(seconds=-5), "10 minutes")):
        page_time.ahead = timedelta(0)
        url = people.desk.agreed(traveller.sent_to(), traveller.subject)
        people.desk.claims = {"iat": people.claims()["iat"] + 590, "nbf": None}
        page_time.ahead = ATTEMPT_LIFETIME - late
        people.desk.claims["exp"] = people.claims()["exp"] + 900
        response = traveller.come(url)
        if said is None:
            assert onward(response) == "/admin/"
        else:
            assert said in refusal(response)


def test_attempts_that_came_to_nothing_are_forgotten_at_the_next(traveller, page_time, sessions):
    def attempts():
        with sessions() as session:
            return set(session.scalars(select(federated_sign_in.SignInAttempt.state_hash)))

    others = attempts()
    traveller.sent_to()
    mine = attempts() - others
    assert len(mine) == 1
    page_time.ahead = ATTEMPT_LIFETIME
    traveller.sent_to()
    assert mine.isdisjoint(attempts())


def test_one_issuer_cannot_answer_for_another(traveller, people, issuers):
    """The path tells them apart, though an issuer may not name itself in its answers."""
    staff = issuers[1]
    for issuer in issuers:
        issuer.discovery["authorization_response_iss_parameter_supported"] = False
        issuer.desk.answer = {"iss": None}
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    response = traveller.come(url.replace("/people/", "/staff/"))
    assert "begun with another issuer" in refusal(response)
    assert "token" not in staff.asked + people.asked


def test_an_unknown_issuer_is_no_way_in_and_no_page(traveller):
    for response in (traveller.depart("nobody"), traveller.get("/admin/sign-in/nobody/callback")):
        assert "no such issuer" in refusal(response, 404)


@pytest.mark.parametrize("ill", ["down", "failing", "garbage", "huge", "moved", "slow"])
def test_an_issuer_that_is_away_at_the_end_is_told_of(traveller, people, ill):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    people.ill = ill
    assert "does not answer as it should" in refusal(traveller.come(url), 503)


@pytest.mark.parametrize("spoilt", [{}, {"id_token": ["x"]}], ids=["no-token", "a-list"])
def test_an_answer_without_an_id_token_lets_nobody_in(traveller, people, spoilt):
    people.desk.spoilt = spoilt
    assert "does not answer as it should" in refusal(traveller.back(traveller.subject), 503)


def test_without_the_issuers_keys_nobody_is_let_in(traveller, people, monkeypatch):
    monkeypatch.setattr(people, "document", lambda name: name == "keys" or people.discovery)
    assert "cannot be had now" in refusal(traveller.back(traveller.subject), 503)


def test_a_code_is_worth_nothing_without_its_verifier(traveller, people):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    for asked in people.desk.codes.values():
        asked["code_challenge"] = "of another browser"
    assert "does not confirm" in refusal(traveller.come(url))


# The ID token


UNFIT = {
    "another-audience": ({"aud": "https://elsewhere.example"}, "not for this registry"),
    "our-api": ({"aud": "https://registry.example"}, "not for this registry"),
    "no-audience": ({"aud": None}, "not for this registry"),
    "audience-an-object": ({"aud": {CLIENT_ID: 1}}, "not for this registry"),
    "several-without-azp": ({"aud": [CLIENT_ID, "other"]}, "another client"),
    "several-with-azp": ({"aud": [CLIENT_ID, "other"], "azp": "other"}, "another client"),
    "azp": ({"azp": "other"}, "another client"),
    "azp-null": ({"azp": 0}, "another client"),
    "nonce": ({"nonce": "of another sign-in"}, "not of this sign-in"),
    "no-nonce": ({"nonce": None}, "not of this sign-in"),
    "nonce-a-list": ({"nonce": ["x"]}, "not of this sign-in"),
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
    assert "of another issuer" in refusal(traveller.back(traveller.subject))


@pytest.mark.parametrize(
    "claims",
    [{"aud": [CLIENT_ID]}, {"aud": ["x", CLIENT_ID], "azp": CLIENT_ID}, {"azp": CLIENT_ID}],
    ids=["a-list", "several", "azp"],
)
def test_an_id_token_that_names_us_in_another_way_is_read(traveller, people, claims):
    people.desk.claims = claims
    assert onward(traveller.back(traveller.subject)) == "/admin/"


# Whom it means, and for how long


def test_whom_nobody_has_bound_is_let_in_nowhere(traveller):
    assert "bound to no principal" in refusal(traveller.back("a stranger"))


def test_whoever_means_two_is_neither(traveller, world, people):
    other, _ = world.a_principal()
    bind(world, other, (people, {"sub": traveller.subject, "ref": "refs/heads/main"}))
    assert "more than one principal" in refusal(traveller.back(traveller.subject))


def test_a_refusal_keeps_the_page_that_was_asked_for(traveller):
    response = traveller.back("a stranger", next="/admin/reviews")
    assert 'name="next" value="/admin/reviews"' in response.text


def test_a_session_ends_when_its_binding_is_taken_away(traveller, world, people):
    bind(world, traveller.name, (people, {"sub": traveller.subject}), (people, {"sub": "b"}))
    traveller.back(traveller.subject)
    bind(world, traveller.name, (people, {"sub": traveller.subject}))
    assert traveller.is_in(), "another of the person's bindings changes nothing"
    bind(world, traveller.name, (people, {"sub": "another"}))
    response = traveller.get("/admin/reviews")
    assert response.headers["location"] == "/admin/sign-in?next=%2Fadmin%2Freviews"


def test_a_session_ends_when_its_principal_is_deactivated(traveller, world):
    traveller.back(traveller.subject)
    assert traveller.is_in()
    assert world.call("DELETE", f"/v1/principals/{traveller.name}", by="admin").is_success
    assert not traveller.is_in()


def test_a_session_ends_when_its_issuer_is_configured_no_more(traveller, world, people, issuers):
    traveller.back(traveller.subject)
    configure(world, signed_in_through(people))
    assert traveller.is_in()
    configure(world, signed_in_through(issuers[1], "staff"), trusted(people))
    assert not traveller.is_in()


def test_a_session_lasts_no_longer_than_one_by_token(traveller, page_time, sessions):
    traveller.back(traveller.subject)
    while page_time.ahead < web_sessions.LONGEST_LIFETIME:
        assert traveller.is_in()
        page_time.ahead += timedelta(minutes=25)
    assert not traveller.is_in()
    page_time.ahead = timedelta(0)
    traveller.back(traveller.subject)
    page_time.ahead = web_sessions.IDLE_LIFETIME + timedelta(seconds=5)
    assert not traveller.is_in()


def test_signing_out_ends_a_session_through_an_issuer_too(traveller, world):
    traveller.back(traveller.subject)
    copied = traveller.client.cookies["registry_session"]
    traveller.post("/admin/sign-out", form_token=traveller.mark("/admin/"))
    traveller.keep(copied)
    assert not traveller.is_in()
    assert world.last_entry("registry")["action"] == "session.close"


def test_who_signs_in_while_the_binding_is_taken_away_is_out_afterwards(world, traveller, people):
    sessions = world.client.app.state.parts.sessions
    issuer = world.client.app.state.parts.issuers[people.url]
    claims = {"sub": traveller.subject}

    def sign_in():
        try:
            return web_sessions.sign_in_as(sessions, issuer=issuer, claims=claims, now=clock())
        except federated_sign_in.UnauthenticatedError:
            return None

    def unbind():
        body = {"identities": []}
        other = world.on_its_own_client()
        return other.call(
            "PUT", f"/v1/principals/{traveller.name}/identities", by="admin", json=body
        )

    *visits, unbound = at_once(*[sign_in] * 4, unbind)

    assert unbound.status_code == 200, unbound.text
    for visit in visits:
        cookie = visit.cookie if visit else ""
        urls = {people.url}
        seen = web_sessions.visit(sessions, cookie=cookie, now=clock(), issuers=urls)
        assert seen is None
