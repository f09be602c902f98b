"""Quotas over HTTP: who reads and sets them, bad input, and requests in progress."""

import asyncio

import httpx2
import pytest

from app.background import BackgroundTasks
from app.domain.artifacts.quotas import DEFAULT_LIMITS
from app.http.limits import InFlight
from tests.services.artifacts.test_quotas import recorded_about
from tests.services.evidence.test_submissions_samples import record, rows
from tests.support.builders import code
from tests.support.observing import eventually

EVERYTHING = {"stored_bytes": 1 << 40, "versions": 5, "requests": 7}


def path(world):
    return f"/v1/namespaces/{world.namespace}/quota"


def put(world, body, *, by="admin", **headers):
    return world.call("PUT", path(world), by=by, json=body, headers=headers)


def test_a_namespace_has_the_limits_of_the_settings_at_first(world):
    found = world.made("GET", path(world), by="publisher")
    assert found == {
        "namespace": world.namespace,
        "stored_bytes": {"used": 0, "limit": DEFAULT_LIMITS.stored_bytes, "is_default": True},
        "versions": {"used": 0, "limit": DEFAULT_LIMITS.versions, "is_default": True},
        "requests": {"used": 0, "limit": DEFAULT_LIMITS.requests, "is_default": True},
    }


def test_limits_are_replaced_as_a_whole_on_the_record(world):
    response = put(world, EVERYTHING)
    assert response.status_code == 200
    assert response.json()["versions"] == {"used": 0, "limit": 5, "is_default": False}
    again = put(world, {"stored_bytes": None, "versions": 6, "requests": None}).json()
    assert again["versions"]["limit"] == 6
    assert again["stored_bytes"]["is_default"]
    assert again == world.made("GET", path(world), by="publisher")
    assert recorded_about(world, "quota.set")[-1] == {
        "namespace": world.namespace,
        "before": EVERYTHING,
        "limits": {"stored_bytes": None, "versions": 6, "requests": None},
    }


def test_the_same_limits_again_change_nothing(world):
    first, before = put(world, EVERYTHING).json(), recorded_about(world, "quota.set")
    assert put(world, EVERYTHING).json() == first
    assert recorded_about(world, "quota.set") == before


@pytest.mark.parametrize("role", ["reader", "publisher", "evaluator", "approver", "admin"])
def test_an_administrator_of_the_namespace_alone_may_not_set_its_quota(world, role):
    _, token = world.a_principal(None, (role, world.namespace))
    assert put(world, EVERYTHING, by=token).status_code == 403
    status = world.call("GET", path(world), by=token).status_code
    assert status == (404 if role == "reader" else 200)


def test_the_quota_of_another_namespace_looks_like_none(world):
    stranger = world.a_stranger()
    response = world.call("GET", path(world), by=stranger)
    assert (response.status_code, code(response)) == (404, "not-found")


@pytest.mark.parametrize("name", ["Acme", "a..b", "-a", "v1", "admin", "*", "%2a", "a" * 97])
def test_a_name_that_no_namespace_can_have_is_not_found(world, name):
    for method, arguments in (("GET", {}), ("PUT", {"json": EVERYTHING})):
        response = world.call(method, f"/v1/namespaces/{name}/quota", by="admin", **arguments)
        assert (response.status_code, code(response)) == (404, "not-found")


def test_all_faults_are_named_at_once(world):
    body = {"stored_bytes": 0, "versions": -1, "requests": 10**9, "colour": "red"}
    response = put(world, body)
    assert (response.status_code, code(response)) == (422, "invalid-request")
    named = {fault["message"].partition(":")[0] for fault in response.json()["faults"]}
    assert named == {"stored_bytes", "versions", "requests", "colour"}


@pytest.mark.parametrize("value", [0, -1, 2**53, 1.5, 1.0, "10", True, [1], "1e3"], ids=repr)
@pytest.mark.parametrize("name", ["stored_bytes", "versions", "requests"])
def test_a_limit_is_a_positive_integer(world, name, value):
    response = put(world, EVERYTHING | {name: value})
    assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize("name", ["stored_bytes", "versions", "requests"])
def test_no_limit_may_be_left_out(world, name):
    """A client that does not know a limit cannot reset it by accident."""
    body = {key: value for key, value in EVERYTHING.items() if key != name}
    assert put(world, body).status_code == 422


def test_limits_that_changed_since_they_were_read_are_not_replaced(world):
    read = world.call("GET", path(world), by="admin").headers["ETag"]
    changed = put(world, EVERYTHING, **{"If-Match": read})
    assert changed.status_code == 200
    stale = put(world, EVERYTHING | {"versions": 9}, **{"If-Match": read})
    assert (stale.status_code, code(stale)) == (412, "precondition-failed")
    assert world.made("GET", path(world), by="admin")["versions"]["limit"] == 5
    assert put(world, EVERYTHING, **{"If-Match": changed.headers["ETag"]}).status_code == 200


def test_the_tag_of_a_quota_does_not_change_with_its_use(world):
    before = world.call("GET", path(world), by="admin").headers["ETag"]
    world.a_version()
    after = world.call("GET", path(world), by="admin")
    assert after.json()["versions"]["used"] == 1
    assert after.headers["ETag"] == before


# Requests in progress


class Held:
    """Uploads of a namespace whose bodies have not ended, on one server."""

    def __init__(self, world):
        self.world = world
        self.app = world.client.app

    async def run(self, count, during):
        """Hold `count` pushes open while `during` runs in a thread; return its result."""
        transport = httpx2.ASGITransport(self.app)
        ended, arrived = asyncio.Event(), asyncio.Semaphore(0)

        async def body():
            arrived.release()  # the server reads the body, so the request was admitted
            yield b"{"
            await ended.wait()
            yield b"}"

        headers = {
            "Authorization": f"Bearer {self.world.tokens['publisher']}",
            "Content-Type": "application/json",
        }
        async with httpx2.AsyncClient(transport=transport, base_url="http://registry") as client:
            address = f"{self.world.path}/versions"
            held = [
                asyncio.ensure_future(client.post(address, headers=headers, content=body()))
                for _ in range(count)
            ]
            for _ in held:
                await arrived.acquire()
            try:
                return await during(client)
            finally:
                ended.set()
                await asyncio.gather(*held)


def held_in(world, count, during):
    return asyncio.run(Held(world).run(count, during))


@pytest.fixture
def narrow(world, world_on):
    """The world on a server of its own, whose namespace has a version and two slots."""
    world.a_live_version()
    other = world_on(in_flight=InFlight())
    other.namespace, other.prefix, other.path = world.namespace, world.prefix, world.path
    other.suite = world.suite
    assert put(other, EVERYTHING | {"requests": 2}).status_code == 200
    return other


def sending(world, method, address, *, by, **arguments):
    async def during(client):
        token = world.tokens.get(by, by)
        headers = {"Authorization": f"Bearer {token}"}
        return await client.request(method, address, headers=headers, **arguments)

    return during


def test_requests_beyond_the_namespace_s_limit_are_refused_at_once(narrow):
    reading = sending(narrow, "GET", f"{narrow.path}/versions", by="evaluator")
    response = held_in(narrow, 2, reading)
    assert (response.status_code, code(response)) == (429, "too-many-requests")
    assert response.headers["Retry-After"] == "1"
    assert narrow.namespace in response.json()["detail"]
    assert held_in(narrow, 1, reading).status_code == 200
    assert narrow.client.app.state.parts.in_flight.in_namespace(narrow.namespace) == 0


def test_a_busy_namespace_keeps_nobody_from_others_and_from_its_own_quota(narrow):
    for address in ("/v1/prefixes", path(narrow)):
        reading = sending(narrow, "GET", address, by="admin")
        assert held_in(narrow, 2, reading).status_code == 200
    raising = sending(narrow, "PUT", path(narrow), by="admin", json=EVERYTHING)
    assert held_in(narrow, 2, raising).json()["requests"] == {
        "used": 2,
        "limit": 7,
        "is_default": False,
    }


def test_a_busy_namespace_still_resolves_and_revokes(narrow):
    resolving = sending(narrow, "GET", f"/v1/resolve/{narrow.prefix}", by="reader")
    assert held_in(narrow, 2, resolving).status_code == 200
    address = f"{narrow.path}/versions/1/revoke"
    revoking = sending(narrow, "POST", address, by="approver-1", json={"reason": "it leaks"})
    assert held_in(narrow, 2, revoking).status_code == 200


def test_a_download_of_evidence_counts_although_its_path_names_no_namespace(narrow):
    version = narrow.made("GET", f"{narrow.path}/versions/1", by="publisher")
    evaluation = record(narrow, version, rows(2)).json()
    address = f"/v1/evaluations/{evaluation['id']}/files/samples.jsonl"
    reading = sending(narrow, "GET", address, by="evaluator")
    assert held_in(narrow, 2, reading).status_code == 429
    assert held_in(narrow, 1, reading).status_code == 200
    assert narrow.client.app.state.parts.in_flight.in_namespace(narrow.namespace) == 0


def test_a_caller_without_a_grant_occupies_no_slot_and_learns_nothing(narrow):
    stranger = narrow.a_stranger()
    reading = sending(narrow, "GET", f"{narrow.path}/versions", by=stranger)
    assert held_in(narrow, 2, reading).status_code == 404


def test_a_limit_that_another_process_set_is_read_in_the_background(narrow, world_on):
    other = world_on(in_flight=InFlight())
    parts = other.client.app.state.parts
    assert narrow.namespace not in parts.in_flight.own_limits
    tasks = BackgroundTasks(parts)
    tasks.start()
    try:
        eventually(lambda: parts.in_flight.own_limits.get(narrow.namespace) == 2)
        assert put(narrow, EVERYTHING | {"requests": None}).status_code == 200
        eventually(lambda: narrow.namespace not in parts.in_flight.own_limits)
    finally:
        tasks.stop()
    assert narrow.namespace not in narrow.client.app.state.parts.in_flight.own_limits


def test_a_request_that_authenticates_again_counts_once():
    in_flight, scope = InFlight(2), {}
    for _ in range(3):
        in_flight.enter_namespace(scope, "acme")
    assert in_flight.in_namespace("acme") == 1
    in_flight.leave(scope)
    assert in_flight.in_namespace("acme") == 0
