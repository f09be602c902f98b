"""Sign-in through an issuer, and the request that starts it."""

import logging
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from app.services.identity import oidc_login
from tests.oidc.test_issuers import trusted
from tests.pages.conftest import counted
from tests.pages.login.travelling import configure, onward, refusal, signed_in_through

SHARED = "s: +/%\N{LATIN SMALL LETTER A WITH DIAERESIS}"  # characters that need percent-encoding


def test_a_user_who_signs_in_at_the_issuer_acts_as_the_bound_principal(traveller, issuer_world):
    response = traveller.back(traveller.subject, next="/admin/reviews?cursor=x")

    assert response.status_code == 200
    assert onward(response) == "/admin/reviews?cursor=x"
    assert response.headers["referrer-policy"] == "no-referrer"
    cookies = [each for each in response.headers.get_list("set-cookie") if "_session=" in each]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookies[0].split("; "))
    assert traveller.name in traveller.get("/admin/").text
    opened = issuer_world.last_entry("registry")
    assert (opened["action"], opened["principal"]) == ("session.open", traveller.name)
    assert opened["facts"].keys() == {"session_id", "identity_id", "issuer"}


def test_the_authorization_request_uses_pkce_and_the_configured_redirect_uri(traveller):
    mark = traveller.form_token("/admin/sign-in")
    response = traveller.client.post(
        "/admin/sign-in/people", data={"form_token": mark}, headers={"Host": "evil.example"}
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
def test_the_attempt_cookie_is_lax_short_lived_and_closed_to_scripts(traveller, scheme):
    traveller.client.base_url = f"{scheme}://testserver"
    cookies = traveller.depart().headers.get_list("set-cookie")
    (cookie,) = (each for each in cookies if "attempt=" in each)
    prefix, secure = ("__Host-", {"Secure"}) if scheme == "https" else ("", set())
    assert cookie.startswith(f"{prefix}registry_sign_in_attempt=")
    assert {"HttpOnly", "SameSite=Lax", "Max-Age=600", "Path=/"} | secure == set(
        cookie.split("; ")[1:]
    )


def test_neither_state_nor_nonce_nor_verifier_is_in_a_table(traveller, sessions):
    query = parse_qs(urlsplit(traveller.sent_to()).query)
    cookie = traveller.client.cookies["registry_sign_in_attempt"]
    with sessions() as session:
        attempt = oidc_login.LoginAttempt
        stored = str([vars(row) for row in session.scalars(select(attempt))])
    assert "state_hash" in stored
    for secret in (query["state"][0], query["nonce"][0], cookie):
        assert secret not in stored


def test_pages_of_the_sign_in_keep_the_strict_policy_and_have_no_inline_code(traveller):
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
        pytest.param(None, "basic", id="unspecified"),
        pytest.param(["client_secret_basic", "client_secret_post"], "basic", id="both"),
        pytest.param(["client_secret_post"], "post", id="in-the-form"),
    ],
)
def test_a_client_with_a_secret_shows_it_to_its_issuer_alone(
    traveller, issuer_world, people, methods, used, caplog
):
    caplog.set_level(logging.DEBUG)
    people.discovery["token_endpoint_auth_methods_supported"] = methods
    configured = signed_in_through(people, secret=SHARED)
    assert "s: +" not in repr(configured)
    configure(issuer_world, configured)
    assert onward(traveller.back(traveller.subject)) == "/admin/"
    people.desk.secret = SHARED[::-1]
    assert "did not confirm" in refusal(traveller.back(traveller.subject))
    assert people.desk.authenticated == [used, used]
    assert "invalid_client" in caplog.text
    assert not re.search(r"s: \+|\+ :s|s%3A", caplog.text)


def test_endpoints_can_be_configured_and_may_have_a_query(traveller, issuer_world, people):
    configured = signed_in_through(
        people,
        authorization_url=f"{people.url}/authorize?tenant=acme",
        token_url=f"{people.url}/token",
    )
    configure(issuer_world, configured)
    url = traveller.sent_to()
    assert url.startswith(f"{people.url}/authorize?tenant=acme&response_type=code&")
    assert people.asked == []


# Starting the sign-in


def test_the_sign_in_page_queries_neither_the_database_nor_an_issuer(issuer_world, people, engine):
    with counted(engine) as statements:
        page = issuer_world.client.get("/admin/sign-in").text
    assert [name for name in ("people", "staff") if f"Sign in with {name}<" in page] == [
        "people",
        "staff",
    ]
    assert (statements, people.asked) == ([], [])


def test_without_an_issuer_the_sign_in_page_offers_a_token_only(issuer_world, people):
    configure(issuer_world, trusted(people))
    page = issuer_world.client.get("/admin/sign-in").text
    assert page.count("<form ") == 1


@pytest.mark.parametrize("mark", ["", "made up"], ids=["missing", "wrong"])
def test_no_other_site_begins_a_sign_in_for_somebody(traveller, people, mark):
    response = traveller.depart(form_token=mark)
    assert "too old" in refusal(response, 403)
    assert "attempt=" not in response.headers["set-cookie"]
    assert traveller.get("/admin/sign-in/people").status_code == 303
    assert people.asked == []


@pytest.mark.parametrize("ill", ["down", "failing", "garbage", "huge", "moved"])
def test_an_unavailable_issuer_is_reported_and_no_user_is_sent_there(traveller, people, ill):
    people.ill = ill
    assert "does not respond" in refusal(traveller.depart(), 503)


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
    assert "does not respond" in refusal(traveller.depart(), 503)
    assert set(people.asked) == {".well-known/openid-configuration"}


def test_endpoints_are_cached_and_survive_a_short_outage(traveller, people, time):
    traveller.sent_to()
    traveller.sent_to()
    assert len(people.asked) == 1
    people.ill = "failing"
    time.ahead = timedelta(minutes=10)
    traveller.sent_to()
    time.ahead = timedelta(minutes=16)
    refusal(traveller.depart(), 503)
