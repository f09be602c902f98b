"""Pulls: which principals pulled a version, and in which way."""

import threading
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy.exc import OperationalError

from app.domain.artifacts.pulls import PullWay
from app.domain.identity.access import SYSTEM
from app.services.artifacts.pulls import PullLog

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def live(world):
    return world.a_live_version()


def counted(world, by="approver-1"):
    return {(each["principal"], each["way"]): each["times"] for each in world.pulls(1, by=by)}


def download(world, file=WEIGHTS, *, by="reader", **headers):
    path = f"{world.path}/versions/1/files/{file}"
    return world.call("GET", path, by=by, headers=headers)


def test_a_new_version_has_no_pulls(world, live):
    assert world.pulls(1) == []


def test_resolving_and_downloading_are_counted_by_principal(world, live):
    world.resolve()
    world.resolve()
    world.resolve(by="publisher")
    download(world)

    assert counted(world) == {
        ("reader", "resolve"): 2,
        ("publisher", "resolve"): 1,
        ("reader", "download"): 1,
    }


def test_the_first_and_the_last_pull_are_shown(world, live):
    world.resolve()
    world.resolve()

    (pull,) = world.pulls(1)

    assert pull["kind"] == "service"
    assert pull["first_at"] < pull["last_at"]


def test_counts_add_up_across_flushes(world, live):
    world.resolve()
    assert counted(world) == {("reader", "resolve"): 1}
    world.resolve()
    assert counted(world) == {("reader", "resolve"): 2}


def test_the_latest_pull_comes_first(world, live):
    world.resolve()
    world.resolve(by="publisher")
    assert [each["principal"] for each in world.pulls(1)] == ["publisher", "reader"]


def test_a_hugging_face_client_is_counted(world, live):
    path = f"/{world.prefix}/resolve/{live['revision']}/{WEIGHTS}"
    world.call("HEAD", path, by="reader")
    world.call("GET", path, by="reader")

    assert counted(world) == {("reader", "download"): 1}


def test_a_redirect_to_the_store_is_counted(world, live):
    path = f"{world.path}/versions/1/files/{WEIGHTS}"
    response = world.call(
        "GET", path, by="reader", params={"via": "storage"}, follow_redirects=False
    )
    assert response.status_code == 307
    assert counted(world) == {("reader", "download"): 1}


def test_a_request_that_delivers_no_weights_is_not_a_pull(world, live):
    etag = world.resolve().headers["ETag"]
    before = counted(world)

    world.call("GET", f"/v1/resolve/{world.prefix}", by="reader", headers={"If-None-Match": etag})
    world.resolve(base_model=f"sha256:{'0' * 64}")
    download(world, "adapter_config.json")
    download(world, Range="bytes=100-")
    download(world, **{"If-None-Match": download(world, "x").headers.get("ETag", '"x"')})

    assert counted(world) == before | {("reader", "download"): 1}


@pytest.mark.parametrize("by", ["publisher", "evaluator", "admin"])
def test_only_an_approver_may_list_pulls(world, live, by):
    response = world.call("GET", f"{world.path}/versions/1/pulls", by=by)
    assert response.status_code == 403


def test_a_reader_gets_404_for_the_pulls_of_a_version(world, live):
    known = world.call("GET", f"{world.path}/versions/1/pulls", by="reader")
    assert known.status_code == 404


def test_pulls_outlive_a_revocation(world, live):
    world.resolve()
    world.revoke(live)
    assert counted(world) == {("reader", "resolve"): 1}


class UnavailableSessions:
    """Sessions of a database that does not respond."""

    def begin(self):
        raise OperationalError("SELECT", {}, Exception("away"))


def test_counts_that_could_not_be_written_are_written_later(sessions, world, live):
    resolved = world.resolve().json()
    log = world.client.app.state.parts.pulls

    with pytest.raises(OperationalError):
        log.flush(UnavailableSessions())

    assert resolved["version"] == 1
    assert counted(world) == {("reader", "resolve"): 1}


def test_no_pull_is_lost_between_threads():
    log, version, now = PullLog(), uuid4(), datetime.now(UTC)  # noqa: TID251 - any time
    taken = []

    class InterruptedSessions:
        def begin(self):
            raise KeyboardInterrupt

    def note():
        for _ in range(2000):
            log.note(version, SYSTEM, PullWay.RESOLVE, now)

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        with pytest.raises(KeyboardInterrupt):
            log.flush(InterruptedSessions()) or taken.append(1)
    for thread in threads:
        thread.join()

    assert sum(tally.times for tally in log.counted().values()) == 8000
