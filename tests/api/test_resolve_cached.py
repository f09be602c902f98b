"""One server with its cache: responses from the cache equal those from the database."""

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, event, func, insert, select, text

from app.background import running_background_tasks
from app.db import worker_leases
from app.db.models import WorkerLease
from app.db.session import database_of, engine_for, sessions_on
from app.domain.delivery.cache_lease import ABANDONED_AFTER_S, LONGEST_WAIT_S
from app.main import app_of
from app.services.artifacts.pulls import PullLog
from app.services.delivery.cache import ChannelCache
from app.services.delivery.cache_invalidation import Listener
from app.services.delivery.cache_loader import ReadThroughCache
from tests.support.builders import World, a_digest
from tests.support.observing import eventually
from tests.support.session.fixtures import LIMITS

LOOKUPS = ("api_token.hash", "FROM channel", "FROM generation_share")


@pytest.fixture(scope="module")
def listening(parts, tokens):
    """A client of a server with background tasks, and the server's parts."""
    own = replace(parts, cache=ReadThroughCache(), pulls=PullLog())
    with TestClient(
        app_of(own, lifespan=running_background_tasks), raise_server_exceptions=False
    ) as client:
        eventually(own.cache.channel_cache.is_current, within_s=20)
        yield client, own


@pytest.fixture
def world(listening, tokens):
    world = World(listening[0], tokens)
    world.a_live_version()
    return world


@pytest.fixture(scope="module")
def settled(listening, tokens):
    """A world that no test changes."""
    world = World(listening[0], dict(tokens))
    world.a_live_version()
    return world


@pytest.fixture
def channel_cache(listening):
    return listening[1].cache.channel_cache


@contextmanager
def counted(engine):
    """Collect the statements that look up a caller or a channel."""
    found = []

    def count(_connection, _cursor, statement, *_rest):
        if any(lookup in statement for lookup in LOOKUPS):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", count)


def code(response):
    return response.status_code, response.json()["type"].removeprefix("/problems/")


def test_a_cache_hit_executes_no_statement(settled, engine):
    first = settled.resolve(unit="user-1")
    with counted(engine) as statements:
        again = [settled.resolve(unit="user-2") for _ in range(5)]
    assert statements == []
    assert {response.json()["digest"] for response in again} == {first.json()["digest"]}


def test_cache_and_database_give_the_same_response(settled, app):
    with TestClient(app) as client:
        uncached = World(client, settled.tokens)
        uncached.prefix = settled.prefix
        from_database = uncached.resolve()
    settled.resolve()
    from_cache = settled.resolve()

    cached, loaded = from_cache.json(), from_database.json()
    for document in (cached, loaded):
        assert document.pop("expires_at").endswith("Z")
        assert all(file.pop("url").startswith("http") for file in document["files"])
    assert cached == loaded
    named = ("etag", "cache-control", "content-type")
    assert [from_cache.headers[n] for n in named] == [from_database.headers[n] for n in named]


def test_signed_urls_are_reused_and_expire_no_later_than_announced(settled):
    first, again = settled.resolve().json(), settled.resolve().json()
    assert first == again
    now = datetime.now(UTC)  # noqa: TID251 - the client's clock
    left = datetime.fromisoformat(again["expires_at"]) - now
    lifetime = timedelta(seconds=LIMITS.presigned_lifetime_s)
    assert lifetime * 2 / 3 < left <= lifetime
    assert f"X-Amz-Expires={LIMITS.presigned_lifetime_s}" in again["files"][0]["url"]


def test_urls_are_renewed_after_a_third_of_their_lifetime(parts, tokens):
    brief = replace(LIMITS, presigned_lifetime_s=3)
    own = replace(parts, cache=ReadThroughCache(), pulls=PullLog(), limits=brief)
    with TestClient(app_of(own, lifespan=running_background_tasks)) as client:
        eventually(own.cache.channel_cache.is_current, within_s=20)
        world = World(client, tokens)
        world.a_live_version()
        world.resolve()
        first = world.resolve().json()["expires_at"]
        eventually(lambda: world.resolve().json()["expires_at"] > first)


def test_every_pull_is_counted_but_a_304_is_not(world):
    etag = world.resolve().headers["etag"]
    for _ in range(3):
        world.resolve()
    path = f"/v1/resolve/{world.prefix}"
    same = world.call("GET", path, by="reader", headers={"If-None-Match": etag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    (pull,) = world.pulls(1)
    assert (pull["principal"], pull["way"], pull["times"]) == ("reader", "resolve", 4)


def test_a_cached_token_is_not_looked_up_for_any_request(settled, engine):
    expected = settled.call("GET", "/v1/me", by="publisher").json()
    with counted(engine) as statements:
        assert settled.call("GET", "/v1/me", by="publisher").json() == expected
        assert settled.call("GET", "/v1/prefixes", by="publisher").status_code == 200
    assert [statement for statement in statements if "api_token" in statement] == []


def test_a_change_of_a_cached_principal_affects_the_next_request(settled):
    name, token = settled.a_principal()
    assert settled.call("GET", "/v1/me", by=token).json()["grants"] == []

    grants = [{"role": "publisher", "namespace": settled.namespace}]
    body = {"principal": name, "grants": grants}
    settled.made("PUT", "/v1/grants", by="admin", json=body)
    assert settled.call("GET", "/v1/me", by=token).json()["grants"] == grants

    assert settled.call("DELETE", f"/v1/principals/{name}", by="admin").status_code == 204
    assert settled.call("GET", "/v1/me", by=token).status_code == 401


def test_the_use_of_a_cached_token_is_recorded(settled):
    name, token = settled.a_principal(None, ("reader", settled.namespace))
    assert settled.resolve(by=token).status_code == 200

    def used():
        query = {"principal": name}
        (listed,) = settled.made("GET", "/v1/tokens", by="admin", params=query)["items"]
        return listed["last_used_at"] is not None

    eventually(used)


def test_a_cached_token_expires(settled):
    name, _ = settled.a_principal(None, ("reader", settled.namespace))
    token = settled.a_token(name, expires_in="PT2S")
    assert settled.resolve(by=token).status_code == 200
    assert settled.call("GET", "/v1/me", by=token).status_code == 200
    eventually(lambda: settled.resolve(by=token).status_code == 401)
    assert settled.call("GET", "/v1/me", by=token).status_code == 401


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        pytest.param({"base_model": a_digest()}, (409, "base-model-mismatch"), id="base"),
        pytest.param({"channel": "UPPER"}, (422, "invalid-request"), id="channel"),
        pytest.param({"channel": "staging"}, (404, "not-found"), id="no-channel"),
        pytest.param({"unit": "u" * 257}, (422, "invalid-request"), id="unit"),
        pytest.param({"wait": "61"}, (422, "invalid-request"), id="wait-too-long"),
        pytest.param({"wait": "soon"}, (422, "invalid-request"), id="wait-no-number"),
        pytest.param({"wait": "2m"}, (422, "invalid-request"), id="wait-too-long-in-minutes"),
        pytest.param({"wait": "-1s"}, (422, "invalid-request"), id="wait-negative"),
        pytest.param({"wait": "\u0661"}, (422, "invalid-request"), id="wait-no-ascii"),
        pytest.param({"wait": "P1M"}, (422, "invalid-request"), id="wait-a-month"),
    ],
)
def test_a_refusal_does_not_depend_on_the_cache(settled, query, refusal):
    settled.resolve()
    headers = {"If-None-Match": '"1-none"'}
    response = settled.call(
        "GET", f"/v1/resolve/{settled.prefix}", by="reader", params=query, headers=headers
    )
    assert code(response) == refusal


def test_the_cache_reveals_nothing_to_callers_without_visibility(settled):
    settled.resolve()
    assert code(settled.resolve(by=settled.a_stranger())) == (404, "not-found")
    assert code(settled.resolve(by="nonsense")) == (401, "unauthenticated")
    name, _ = settled.a_principal(None, ("reader", settled.namespace))
    elsewhere = settled.a_token(name, channels=["staging"])
    assert code(settled.resolve(by=elsewhere)) == (404, "not-found")


def test_a_promotion_affects_the_next_request(world):
    world.an_evaluated_version(seed=2)
    for number in (2, 1, 2):
        world.approve(world.request({"number": number}).json())
        assert world.resolve().json()["version"] == number


def test_a_listener_stops_without_waiting_for_its_next_proof(parts):
    channel_cache = ChannelCache()
    listener = Listener(database_of(parts.sessions), channel_cache, proof_every_s=60.0)
    listener.start()
    eventually(channel_cache.is_current, within_s=20)
    begun = time.monotonic()
    listener.stop()
    assert time.monotonic() - begun < 5


def test_a_listener_that_never_reached_a_database_stops_too():
    engine = engine_for("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    listener = Listener(database_of(sessions_on(engine)), ChannelCache())
    listener.start()
    assert seconds(listener.stop) < 5
    engine.dispose()


# Losing the connection


def leases(sessions):
    with sessions() as session:
        return session.scalars(select(WorkerLease.id)).all()


def test_a_process_whose_lease_was_deleted_starts_a_new_epoch(world, channel_cache, sessions):
    before = leases(sessions)
    epoch = channel_cache.epoch
    with sessions.begin() as session:
        session.execute(delete(WorkerLease))
    eventually(lambda: channel_cache.epoch > epoch)
    eventually(channel_cache.is_current)
    assert leases(sessions) == before
    assert world.resolve().status_code == 200


def test_a_lost_connection_clears_the_cache_and_the_listener_reconnects(
    world, channel_cache, sessions
):
    world.resolve()
    epoch = channel_cache.epoch
    terminate = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'prefix-registry listener' AND datname = current_database()"
    )
    with sessions() as session:
        assert session.scalar(text(terminate)) >= 1
    eventually(lambda: channel_cache.epoch > epoch)
    assert world.resolve().status_code == 200
    eventually(channel_cache.is_current)
    # The process renews its own lease, so no stale lease delays the revocation.
    assert seconds(lambda: world.revoke({"number": 1})) < LONGEST_WAIT_S
    assert code(world.resolve()) == (410, "version-revoked")


# Waiting for a change


def waited(world, *, wait="1"):
    """Wait for a 304, and return the seconds that it took."""
    etag = world.resolve().headers["etag"]
    begun = time.monotonic()
    path, headers = f"/v1/resolve/{world.prefix}", {"If-None-Match": etag}
    response = world.call("GET", path, by="reader", params={"wait": wait}, headers=headers)
    assert response.status_code == 304
    return time.monotonic() - begun


def test_a_wait_lasts_as_requested_with_and_without_the_cache(settled, app):
    with TestClient(app) as client:
        uncached = World(client, settled.tokens)
        uncached.prefix = settled.prefix
        assert waited(uncached) >= 1
    assert waited(settled) >= 1
    assert waited(settled, wait="0") < 1


@pytest.mark.parametrize("wait", ["1s", "PT1S", "001"])
def test_a_wait_may_also_have_a_unit(settled, wait):
    assert 1 <= waited(settled, wait=wait) < 10


# Waiting for processes


@contextmanager
def a_silent_process(sessions, *, since_s):
    """Insert the lease of a process that no longer confirms, as if killed or suspended."""
    proved_at = func.now() - timedelta(seconds=since_s)
    row = {"id": uuid4(), "confirmed": 0, "proved_at": proved_at}
    with sessions.begin() as session:
        session.execute(insert(WorkerLease).values(row))
    yield
    with sessions.begin() as session:
        session.execute(delete(WorkerLease).where(WorkerLease.id == row["id"]))


def seconds(action):
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def test_a_revocation_waits_for_the_lease_of_a_silent_process(world, sessions):
    with a_silent_process(sessions, since_s=0):
        assert seconds(lambda: world.push(seed=5)) < LONGEST_WAIT_S  # a push invalidates nothing
        assert seconds(lambda: world.revoke({"number": 1})) >= LONGEST_WAIT_S


def test_a_revocation_ignores_an_abandoned_lease(world, sessions):
    with a_silent_process(sessions, since_s=ABANDONED_AFTER_S + 1):
        assert seconds(lambda: world.revoke({"number": 1})) < LONGEST_WAIT_S


def test_without_a_database_the_barrier_waits_for_the_longest_time():
    engine = engine_for("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    assert seconds(lambda: worker_leases.wait_until_invalidated(engine)) >= LONGEST_WAIT_S
    engine.dispose()
