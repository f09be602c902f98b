"""Web sessions: concurrent requests of one browser, renewal of the cookie, and signing out."""

from datetime import timedelta

import pytest

from app.domain.errors import UnauthenticatedError
from app.domain.identity.tokens import new_token
from app.services.identity import web_sessions
from tests.support.racing import at_once

TICK = timedelta(microseconds=1)


def test_only_one_of_concurrent_requests_renews_the_cookie(sessions, tokens, time):
    opened = web_sessions.sign_in(sessions, token=tokens["reader"])
    time.ahead = web_sessions.RENEWED_AFTER

    visits = at_once(
        *(lambda: web_sessions.visit(sessions, cookie=opened.cookie) for _ in range(6))
    )

    assert all(visit is not None and visit.session_id == opened.session_id for visit in visits)
    renewed = [visit.cookie for visit in visits if visit.cookie is not None]
    assert len(renewed) == 1
    assert web_sessions.visit(sessions, cookie=renewed[0]) is not None


def test_the_form_token_stays_the_same_when_the_cookie_changes(sessions, tokens, time):
    opened = web_sessions.sign_in(sessions, token=tokens["reader"])
    time.ahead = web_sessions.RENEWED_AFTER
    renewed = web_sessions.visit(sessions, cookie=opened.cookie)
    assert renewed.cookie is not None
    assert renewed.form_token == opened.form_token


def test_signing_out_twice_is_recorded_once(sessions, tokens, world):
    opened = web_sessions.sign_in(sessions, token=tokens["reader"])
    web_sessions.sign_out(sessions, visit=opened)
    last = world.last_entry("registry")
    web_sessions.sign_out(sessions, visit=opened)
    assert last["action"] == "session.close"
    assert world.last_entry("registry") == last


def test_a_session_ends_no_later_than_its_token(sessions, world, time):
    token = world.a_token("reader", expires_in="PT10M")
    opened = web_sessions.sign_in(sessions, token=token)
    time.ahead = timedelta(minutes=9)
    assert web_sessions.visit(sessions, cookie=opened.cookie) is not None
    time.ahead = timedelta(minutes=11)
    assert web_sessions.visit(sessions, cookie=opened.cookie) is None


def test_at_its_very_end_an_idle_session_is_over(sessions, tokens, time):
    begun = time.now()
    time.stop_at(begun)
    opened = web_sessions.sign_in(sessions, token=tokens["reader"])
    common = {"cookie": opened.cookie, "attended": False}
    end = begun + web_sessions.IDLE_LIFETIME
    time.stop_at(end - TICK)
    assert web_sessions.visit(sessions, **common) is not None
    time.stop_at(end)
    assert web_sessions.visit(sessions, **common) is None


def test_changed_grants_apply_to_the_next_page(sessions, world):
    name, token = world.a_principal(None, ("approver", "acme"))
    opened = web_sessions.sign_in(sessions, token=token)
    world.made("PUT", "/v1/grants", by="admin", json={"principal": name, "grants": []})
    visit = web_sessions.visit(sessions, cookie=opened.cookie)
    assert visit.caller.grants == frozenset()


def test_an_unknown_token_opens_no_session(sessions):
    with pytest.raises(UnauthenticatedError, match="bearer token"):
        web_sessions.sign_in(sessions, token=new_token())
