"""Two servers serve from caches under load; neither contradicts an acknowledged change."""

import asyncio
import signal
import time

import httpx2
import pytest
from sqlalchemy import create_engine, text

from app.domain.delivery.cache_lease import LEASE_S, LONGEST_WAIT_S
from app.domain.identity.tokens import token_hash
from tests.support.builders import World
from tests.support.observing import eventually
from tests.support.racing import run_in_thread
from tests.support.replicas import load, replica

OLD, NEW = 1, 2


@pytest.fixture(scope="module")
def replicas(stores, tokens):
    with replica(stores) as first, replica(stores) as second:
        yield first, second


@pytest.fixture
def world(replicas, tokens):
    """A world on the first replica, with a live version and an evaluated one."""
    with httpx2.Client(base_url=replicas[0].url, timeout=30, trust_env=False) as client:
        world = World(client, tokens)
        world.a_live_version(seed=OLD)
        world.an_evaluated_version(seed=NEW)
        yield world


def path_of(world, query=""):
    return f"/v1/resolve/{world.prefix}{query}"


def roll_back_to(world, number):
    """Serve version 1 or 2 again, by rolling back to the generation of the same number."""
    assert world.rollback(number).status_code == 200


def promote_second_version(world):
    """Promote version 2, so that generations 1 and 2 serve versions 1 and 2."""
    world.approve(world.request({"number": NEW}).json())


@pytest.mark.parametrize(
    "headers", [{}, {"Idempotency-Key": "revoke-it-once"}], ids=["plain", "keyed"]
)
def test_no_request_after_a_revocation_resolves_to_the_version(world, replicas, headers):
    promote_second_version(world)
    with load(replicas, path_of(world), world.tokens["reader"]) as asked:
        assert asked.answers[-1].version == NEW
        begun = time.monotonic()
        revoked = world.call(
            "POST",
            f"{world.path}/versions/{NEW}/revoke",
            by="approver-1",
            json={"reason": "it leaks names"},
            headers=headers,
        )
        assert revoked.status_code == 200
        acknowledged = time.monotonic()
        eventually(lambda: len(asked.since(acknowledged)) > 200, within_s=20)

    late = asked.since(acknowledged)
    took = acknowledged - begun
    assert [each for each in late if each.version == NEW] == []
    assert {each.status for each in late} == {410}
    assert took < LEASE_S  # every replica confirmed before its lease expired


def test_no_request_after_a_rollback_gets_the_earlier_generation(world, replicas, record_property):
    promote_second_version(world)
    times = []
    with load(replicas, path_of(world), world.tokens["reader"]) as asked:
        for number in (1, 2) * 5:
            begun = time.monotonic()
            roll_back_to(world, number)
            acknowledged = time.monotonic()
            times.append(acknowledged - begun)
            eventually(lambda since=acknowledged: len(asked.since(since)) > 40, within_s=20)
            late = asked.since(acknowledged)
            assert [each for each in late if each.version != number] == []
    record_property("acknowledged after ms", sorted(round(each * 1000) for each in times))
    assert sorted(times)[len(times) // 2] < LEASE_S


def revoke_token(world, name, token):
    (listed,) = world.made("GET", "/v1/tokens", by="admin", params={"principal": name})["items"]
    return world.call("DELETE", f"/v1/tokens/{listed['id']}", by="admin"), 401


def deactivate(world, name, token):
    return world.call("DELETE", f"/v1/principals/{name}", by="admin"), 401


def remove_grants(world, name, token):
    body = {"principal": name, "grants": []}
    return world.call("PUT", "/v1/grants", by="admin", json=body), 404


@pytest.mark.parametrize("end", [revoke_token, deactivate, remove_grants])
def test_a_principal_without_access_is_refused_by_every_replica(world, replicas, end):
    name, token = world.a_principal(None, ("reader", world.namespace))
    with load(replicas, path_of(world), token, callers=1) as asked:
        assert asked.answers[-1].status == 200
        response, refusal = end(world, name, token)
        acknowledged = time.monotonic()
        assert response.is_success, response.text
        eventually(lambda: len(asked.since(acknowledged)) > 20, within_s=20)
    assert {each.status for each in asked.since(acknowledged)} == {refusal}


def test_a_manual_change_in_the_database_invalidates_caches(world, replicas, stores):
    _, token = world.a_principal(None, ("reader", world.namespace))
    for each in replicas:
        assert each.ask(path_of(world), token)[0] == 200
    statement = "UPDATE api_token SET revoked_at = now() WHERE hash = :hash"
    engine = create_engine(stores.postgres.owner_url)
    with engine.begin() as connection:
        connection.execute(text(statement), {"hash": token_hash(token)})
    engine.dispose()
    for each in replicas:
        eventually(lambda each=each: each.ask(path_of(world), token)[0] == 401)


def test_a_replica_that_was_suspended_does_not_resolve_a_revoked_version(world, replicas):
    promote_second_version(world)
    _, paused = replicas
    reader = world.tokens["reader"]
    assert paused.ask(path_of(world), reader)[1]["version"] == NEW
    kept_alive = paused.connection()
    kept_alive.connect()
    paused.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert world.revoke({"number": NEW}).status_code == 200
        took = time.monotonic() - begun
        kept_alive.request("GET", path_of(world), headers={"Authorization": f"Bearer {reader}"})
    finally:
        paused.signal(signal.SIGCONT)
    assert LEASE_S < took < LONGEST_WAIT_S + 5
    assert kept_alive.getresponse().status == 410
    kept_alive.close()
    assert paused.ask(path_of(world), reader)[0] == 410


def test_a_replica_without_notifications_queries_the_database(world, replicas, stores):
    promote_second_version(world)
    reader = world.tokens["reader"]
    engine = create_engine(stores.postgres.service_url, isolation_level="AUTOCOMMIT")
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'prefix-registry listener' AND datname = current_database()"
    )
    listening = "SELECT count(*) FROM worker_lease WHERE proved_at > now() - interval '1s'"
    with load(replicas, path_of(world), reader) as asked, engine.connect() as connection:
        for number in (1, 2):
            assert connection.scalar(text(cut)) == len(replicas)
            roll_back_to(world, number)
            acknowledged = time.monotonic()
            eventually(lambda since=acknowledged: len(asked.since(since)) > 40, within_s=20)
            late = asked.since(acknowledged)
            assert {(each.status, each.version) for each in late} == {(200, number)}
            eventually(lambda: connection.scalar(text(listening)) == len(replicas))
    engine.dispose()


async def wait_for_change(replica, path, token, etag, waiters, change):
    """Let `waiters` wait on one replica; return each response with its time."""
    limits = httpx2.Limits(max_connections=waiters)
    headers = {"Authorization": f"Bearer {token}", "If-None-Match": etag}
    async with httpx2.AsyncClient(
        base_url=replica.url, headers=headers, timeout=40, limits=limits, trust_env=False
    ) as client:

        async def watch():
            response = await client.get(path, params={"wait": "30"})
            return time.monotonic(), response.status_code, response.json().get("version")

        waiting = [asyncio.create_task(watch()) for _ in range(waiters)]
        await asyncio.sleep(2)
        assert not any(each.done() for each in waiting)
        acknowledged = await asyncio.to_thread(change)
        return acknowledged, await asyncio.gather(*waiting)


def test_waiters_get_a_change_at_once(world, replicas, record_property):
    promote_second_version(world)
    reader = world.tokens["reader"]
    path = path_of(world)
    etag = world.resolve().headers["etag"]

    def change():
        roll_back_to(world, 1)
        return time.monotonic()

    acknowledged, answered = run_in_thread(
        wait_for_change(replicas[1], path, reader, etag, 100, change)
    )

    assert {(status, version) for _, status, version in answered} == {(200, 1)}
    last = max(at for at, _, _ in answered) - acknowledged
    record_property("the last was answered after ms", round(last * 1000))
    assert last < 10


def test_a_waiter_without_a_change_gets_304(world, replicas):
    etag = world.resolve().headers["etag"]
    begun = time.monotonic()
    status, _ = replicas[1].ask(
        path_of(world, "?wait=1"), world.tokens["reader"], If_None_Match=etag
    )
    assert status == 304
    assert 1 <= time.monotonic() - begun < 5


def test_a_server_that_shuts_down_answers_its_waiters(world, stores):
    etag = world.resolve().headers["etag"]
    with replica(stores) as ending:
        connection = ending.connection()
        headers = {"Authorization": f"Bearer {world.tokens['reader']}", "If-None-Match": etag}
        connection.request("GET", path_of(world, "?wait=30"), headers=headers)
        time.sleep(1)
        ending.signal(signal.SIGTERM)
        assert connection.getresponse().status == 304
        connection.close()
        assert ending.process.wait(timeout=30) == 0
