"""The sessions that an issuer's claims open, and the events that end them."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import delete, select, text

from app.db.audit import lock_chain
from app.db.models import FederatedIdentityRow, Principal
from app.domain.audit.chain import REGISTRY
from app.domain.errors import UnauthenticatedError
from app.services.identity import web_sessions
from tests.oidc.test_issuers import bind, trusted
from tests.pages.login.travelling import configure, refusal, signed_in_through

IN_2100 = 4_102_444_800  # seconds since 1970


def test_claims_bound_to_no_principal_are_refused(traveller):
    assert "bound to no principal" in refusal(traveller.back("a stranger"))


def test_claims_bound_to_two_principals_are_refused(traveller, issuer_world, people):
    other, _ = issuer_world.a_principal()
    bind(issuer_world, other, (people, {"sub": traveller.subject, "ref": "refs/heads/main"}))
    assert "several principals" in refusal(traveller.back(traveller.subject))


def test_a_refusal_keeps_the_requested_page(traveller):
    response = traveller.back("a stranger", next="/admin/reviews")
    assert 'name="next" value="/admin/reviews"' in response.text


def test_a_session_ends_when_its_binding_is_taken_away(traveller, issuer_world, people):
    bind(issuer_world, traveller.name, (people, {"sub": traveller.subject}), (people, {"sub": "b"}))
    traveller.back(traveller.subject)
    bind(issuer_world, traveller.name, (people, {"sub": traveller.subject}))
    assert traveller.is_in(), "another of the person's bindings changes nothing"
    bind(issuer_world, traveller.name, (people, {"sub": "another"}))
    response = traveller.get("/admin/reviews")
    assert response.headers["location"] == "/admin/sign-in?next=%2Fadmin%2Freviews"


def test_a_session_ends_when_its_principal_is_deactivated(traveller, issuer_world):
    traveller.back(traveller.subject)
    assert traveller.is_in()
    assert issuer_world.call("DELETE", f"/v1/principals/{traveller.name}", by="admin").is_success
    assert not traveller.is_in()


def test_a_session_ends_when_its_issuer_is_configured_no_more(
    traveller, issuer_world, people, issuers
):
    traveller.back(traveller.subject)
    configure(issuer_world, signed_in_through(people))
    assert traveller.is_in()
    configure(issuer_world, signed_in_through(issuers[1], "staff"), trusted(people))
    assert not traveller.is_in()


def test_a_session_lasts_no_longer_than_one_by_token(traveller, time, sessions):
    traveller.back(traveller.subject)
    while time.ahead < web_sessions.LONGEST_LIFETIME:
        assert traveller.is_in()
        time.ahead += timedelta(minutes=25)
    assert not traveller.is_in()
    time.ahead = timedelta(0)
    traveller.back(traveller.subject)
    time.ahead = web_sessions.IDLE_LIFETIME + timedelta(seconds=5)
    assert not traveller.is_in()


def test_signing_out_ends_a_session_through_an_issuer_too(traveller, issuer_world):
    traveller.back(traveller.subject)
    copied = traveller.client.cookies["registry_session"]
    traveller.post("/admin/sign-out", form_token=traveller.form_token("/admin/"))
    traveller.keep(copied)
    assert not traveller.is_in()
    assert issuer_world.last_entry("registry")["action"] == "session.close"


def begun(threads, session, change):
    """Start `change` in a thread; return its future once it waits for a lock of `session`."""
    own = session.scalar(text("SELECT pg_backend_pid()"))
    # pg_stat_activity does not work: a transaction keeps its first snapshot of it.
    waiting = text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND :own = ANY(pg_blocking_pids(pid))"
    )
    outcome = threads.submit(change)
    while not session.scalar(waiting, {"own": own}):
        assert not outcome.done(), outcome.result()
        time.sleep(0.01)
    return outcome


def test_who_signs_in_while_the_binding_is_taken_away_is_not_let_in(
    issuer_world, traveller, people
):
    parts = issuer_world.client.app.state.parts
    issuer, claims = parts.issuers[people.url], {"sub": traveller.subject}
    verified = claims | {"iat": IN_2100, "exp": IN_2100}
    sign_in = partial(web_sessions.sign_in_as, parts.sessions, issuer=issuer, claims=verified)
    with ThreadPoolExecutor(1) as threads:
        with parts.sessions.begin() as session:
            lock_chain(session, REGISTRY)
            session.execute(
                delete(FederatedIdentityRow).where(FederatedIdentityRow.claims == claims)
            )
            outcome = begun(threads, session, sign_in)
        with pytest.raises(UnauthenticatedError, match="Nothing was changed"):
            outcome.result(timeout=10)


def test_who_is_stopped_while_signing_in_is_out_afterwards(issuer_world, traveller, people):
    """A sign-in locks the chain before the principal; a deactivation must use the same order."""
    sessions = issuer_world.client.app.state.parts.sessions
    path, other = f"/v1/principals/{traveller.name}", issuer_world.on_its_own_client()
    with ThreadPoolExecutor(1) as threads:
        with sessions.begin() as session:
            lock_chain(session, REGISTRY)
            outcome = begun(threads, session, lambda: other.call("DELETE", path, by="admin"))
            session.execute(text("SET LOCAL lock_timeout = '2s'"))
            held = select(Principal.id).where(Principal.name == traveller.name)
            assert session.scalars(held.with_for_update(read=True)).one()
        assert outcome.result(timeout=10).status_code == 204
    assert "bound to no principal" in refusal(traveller.back(traveller.subject))
