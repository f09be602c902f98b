"""Running transfers: they end with the authority of their caller, or with their version."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from anyio import to_thread
from fastapi.testclient import TestClient

from app.background import running_background_tasks
from app.domain.delivery.cache_lease import LEASE_S
from app.http.limits import InFlight
from app.http.request_middleware import TransferBrokenError
from app.main import app_of
from app.services.artifacts.pulls import PullLog
from app.services.delivery.cache_loader import ReadThroughCache
from tests.support.blobs import MemoryBlobs
from tests.support.builders import World
from tests.support.observing import eventually


class InterruptedBlobs(MemoryBlobs):
    """Blobs whose readers are interrupted by a call of `between` after the first bytes."""

    between = None

    @contextmanager
    def open(self, digest):
        with super().open(digest) as chunks:
            yield self._interrupted(b"".join(chunks))

    def _interrupted(self, content):
        for begin in range(0, len(content), 64):
            if begin == 64 and self.between is not None:
                between, self.between = self.between, None
                between()
            yield content[begin : begin + 64]


@pytest.fixture(scope="module")
def interrupted():
    return InterruptedBlobs()


@pytest.fixture(scope="module")
def listening(parts, tokens, interrupted):
    """A client of a server that hears of changes."""
    own = replace(parts, cache=ReadThroughCache(), pulls=PullLog(), blobs=interrupted)
    with TestClient(app_of(own, lifespan=running_background_tasks)) as client:
        eventually(own.cache.channel_cache.is_current, within_s=20)
        yield client


@pytest.fixture
def world(listening, tokens):
    world = World(listening, dict(tokens))
    world.a_live_version()
    world.name, world.token = world.a_principal(None, ("publisher", world.namespace))
    return world


def token_path(world):
    query = {"principal": world.name}
    (issued,) = world.made("GET", "/v1/tokens", by="admin", params=query)["items"]
    return f"/v1/tokens/{issued['id']}"


def without_grants(world, name):
    return world.call("PUT", "/v1/grants", by="admin", json={"principal": name, "grants": []})


ENDS = {
    "version-revoked": lambda world: world.revoke({"number": 1}),
    "token-revoked": lambda world: world.call("DELETE", token_path(world), by="admin"),
    "deactivated": lambda world: world.call("DELETE", f"/v1/principals/{world.name}", by="admin"),
    "grants-removed": lambda world: without_grants(world, world.name),
}


def download(world):
    path = f"{world.path}/versions/1/files/adapter_model.safetensors"
    return world.call("GET", path, by=world.token)


@pytest.mark.parametrize("end", ENDS)
def test_a_download_is_broken_off_when_its_authority_or_version_ends(world, interrupted, end):
    other = world.on_its_own_client()
    interrupted.between = lambda: ENDS[end](other)
    with pytest.raises(TransferBrokenError):
        download(world)


def test_a_download_survives_changes_of_others(world, interrupted):
    other = world.on_its_own_client()
    name, _ = world.a_principal()
    interrupted.between = lambda: without_grants(other, name)
    assert download(world).content == world.weights()


def test_a_download_survives_changes_that_leave_its_authority(world, interrupted):
    other = world.on_its_own_client()
    grants = [{"role": "reader", "namespace": world.namespace}]
    body = {"principal": world.name, "grants": grants}
    interrupted.between = lambda: other.call("PUT", "/v1/grants", by="admin", json=body)
    assert download(world).content == world.weights()


def test_a_body_is_refused_once_its_authority_has_ended(world, listening):
    """The rest of the body is not even read."""
    other, read, sent = world.on_its_own_client(), [], []
    parts = [b'{"namespace": "', b"acme", b'", "name": "voice-', b'2", "owner": "admin"}']

    async def receive():
        if read:
            await to_thread.run_sync(ENDS["deactivated"], other)
        read.append(parts[len(read)])
        return {"type": "http.request", "body": read[-1], "more_body": len(read) < len(parts)}

    async def send(message):
        sent.append(message)

    listening.portal.call(listening.app, a_post("/v1/prefixes", world.token), receive, send)
    assert sent[0]["status"] == 401
    assert len(read) == 2


def a_post(path, token):
    """Return the ASGI scope of a JSON request."""
    headers = {
        "host": "testserver",
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
    }
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }


@pytest.mark.parametrize("passed_s", [LEASE_S, LEASE_S - 0.1])
def test_without_notifications_a_transfer_is_checked_at_intervals(world_on, monkeypatch, passed_s):
    blobs, moments = InterruptedBlobs(), [0.0]
    world = world_on(blobs=blobs)
    world.a_live_version()
    world.name, world.token = world.a_principal(None, ("publisher", world.namespace))
    other = world.on_its_own_client()
    monkeypatch.setattr("app.http.transfers.elapsed", lambda: moments[-1])

    def between():
        moments.append(passed_s)
        ENDS["token-revoked"](other)

    blobs.between = between
    whole = download(world).content == world.weights()
    assert whole is (passed_s < LEASE_S)


def test_one_principal_s_requests_in_progress_are_limited(world_on):
    """A second download of the same principal is refused while the first is being sent."""
    blobs, in_flight, seen = InterruptedBlobs(), InFlight(1), []
    world = world_on(blobs=blobs, in_flight=in_flight)
    world.a_live_version()
    world.name, world.token = world.a_principal(None, ("publisher", world.namespace))
    other = world.on_its_own_client()

    def between():
        seen.extend([download(other), other.call("GET", "/v1/me", by="reader")])

    blobs.between = between
    assert download(world).content == world.weights()
    assert [each.status_code for each in seen] == [429, 200]
    assert int(seen[0].headers["retry-after"]) > 0
    assert download(world).status_code == 200
    assert not in_flight._counts
