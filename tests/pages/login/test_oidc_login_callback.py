"""The callback from an issuer: every response that must be refused."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from app.domain.identity.oidc_login import ATTEMPT_LIFETIME
from app.services.identity import oidc_login
from tests.pages.login.test_session_cookies import rows
from tests.pages.login.travelling import onward, refusal
from tests.support.racing import at_once


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"state": "made up"}, "not the latest one of this browser", id="state"),
        pytest.param({"state": None}, "not the latest one of this browser", id="no-state"),
        pytest.param({"state": ["a", "b"]}, "not the latest one", id="two-states"),
        pytest.param({"iss": "https://evil.example"}, "names another issuer", id="iss"),
        pytest.param({"iss": None}, "does not name its issuer", id="no-iss"),
        pytest.param({"code": None}, "has no code", id="no-code"),
        pytest.param({"code": "x" * 5000}, "has no code", id="endless-code"),
        pytest.param({"code": "made up"}, "did not confirm this login", id="code"),
        pytest.param(
            {"code": None, "error": "access_denied"}, "reports access_denied", id="denied"
        ),
        pytest.param({"error": "<b>Call me</b>"}, "issuer reports an error", id="hostile-error"),
    ],
)
def test_an_answer_that_does_not_hold_lets_nobody_in_and_says_why(
    traveller, people, sessions, changes, message
):
    before = len(rows(sessions))
    response = traveller.come(people.desk.agreed(traveller.sent_to(), traveller.subject), **changes)
    assert message in refusal(response)
    assert not traveller.is_in()
    assert len(rows(sessions)) == before


def test_an_answer_counts_once(traveller, people):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    cookie = traveller.client.cookies["registry_sign_in_attempt"]
    traveller.come(url, code="made up")
    traveller.client.cookies.set("registry_sign_in_attempt", cookie)
    assert "used before" in refusal(traveller.come(url))
    assert people.asked.count("token") == 1, "the code is not even tried"


def test_of_two_answers_at_once_one_counts(traveller, people, parts, issuer_world):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    state = parse_qs(urlsplit(url).query)["state"][0]
    cookie = traveller.client.cookies["registry_sign_in_attempt"]
    known = issuer_world.client.app.state.parts.issuers

    def take():
        try:
            return oidc_login.claim_attempt(
                parts.sessions, known, name="people", state=state, cookie=cookie
            )
        except oidc_login.UnauthenticatedError:
            return None

    assert sum(each is not None for each in at_once(*[take] * 6)) == 1


@pytest.mark.parametrize("cookie", [None, "of the attacker"], ids=["none", "another"])
def test_an_answer_is_of_no_use_in_another_browser(traveller, people, cookie):
    """Otherwise a link could sign a victim in as the attacker, or leak the victim's code."""
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    traveller.client.cookies.clear()
    if cookie is not None:
        traveller.client.cookies.set("registry_sign_in_attempt", cookie)
    assert "not the latest one of this browser" in refusal(traveller.come(url))
    assert "token" not in people.asked


def test_a_sign_in_takes_ten_minutes_at_most(traveller, people, time):
    for late, message in ((timedelta(seconds=5), None), (timedelta(seconds=-5), "10 minutes")):
        time.ahead = timedelta(0)
        url = people.desk.agreed(traveller.sent_to(), traveller.subject)
        people.desk.claims = {"iat": people.claims()["iat"] + 590, "nbf": None}
        time.ahead = ATTEMPT_LIFETIME - late
        people.desk.claims["exp"] = people.claims()["exp"] + 900
        response = traveller.come(url)
        if message is None:
            assert onward(response) == "/admin/"
        else:
            assert message in refusal(response)


def test_expired_attempts_are_deleted_at_the_next(traveller, time, sessions):
    def attempts():
        with sessions() as session:
            return set(session.scalars(select(oidc_login.LoginAttempt.state_hash)))

    others = attempts()
    traveller.sent_to()
    mine = attempts() - others
    assert len(mine) == 1
    time.ahead = ATTEMPT_LIFETIME
    traveller.sent_to()
    assert mine.isdisjoint(attempts())


def test_one_issuer_cannot_answer_for_another(traveller, people, issuers):
    """The path identifies the issuer, even if the issuer does not name itself in responses."""
    staff = issuers[1]
    for issuer in issuers:
        issuer.discovery["authorization_response_iss_parameter_supported"] = False
        issuer.desk.answer = {"iss": None}
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    response = traveller.come(url.replace("/people/", "/staff/"))
    assert "started with a different issuer" in refusal(response)
    assert "token" not in staff.asked + people.asked


def test_an_unknown_issuer_is_not_found(traveller):
    for response in (traveller.depart("nobody"), traveller.get("/admin/sign-in/nobody/callback")):
        assert "no such issuer" in refusal(response, 404)


@pytest.mark.parametrize("ill", ["down", "failing", "garbage", "huge", "moved", "slow"])
def test_an_issuer_that_fails_during_the_callback_is_reported(traveller, people, ill):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    people.ill = ill
    assert "did not respond as expected" in refusal(traveller.come(url), 503)


@pytest.mark.parametrize("spoilt", [{}, {"id_token": ["x"]}], ids=["no-token", "a-list"])
def test_a_response_without_an_id_token_is_refused(traveller, people, spoilt):
    people.desk.spoilt = spoilt
    assert "did not respond as expected" in refusal(traveller.back(traveller.subject), 503)


def test_without_the_issuers_keys_no_id_token_is_accepted(traveller, people, monkeypatch):
    monkeypatch.setattr(people, "document", lambda name: name == "keys" or people.discovery)
    assert "are not available" in refusal(traveller.back(traveller.subject), 503)


def test_a_code_is_worth_nothing_without_its_verifier(traveller, people):
    url = people.desk.agreed(traveller.sent_to(), traveller.subject)
    for asked in people.desk.codes.values():
        asked["code_challenge"] = "of another browser"
    assert "did not confirm" in refusal(traveller.come(url))
