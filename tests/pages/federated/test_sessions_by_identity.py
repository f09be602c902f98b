"""Whom an issuer's claims let in, and what ends that."""

from datetime import timedelta

from app.deps import clock
from app.services import federated_sign_in, web_sessions
from tests.oidc.test_tokens import bind, trusted
from tests.pages.federated.travelling import (
    configure,
    refusal,
    signed_in_through,
)
from tests.racing import at_once


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
