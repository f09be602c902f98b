"""Collecting what nothing refers to, and reading again what something does."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from app.db.blobs import pin
from app.services.artifacts.blob_damage import unmark
from app.services.artifacts.garbage_collection import collect, scrub
from app.storage.blobs import key_of
from app.storage.s3_staging import S3Staging
from tests.services.artifacts.test_uploads import announce, uploaded
from tests.support.builders import weights
from tests.support.servers import s3_client

NO_GRACE = timedelta(seconds=-5)  # the store's clock counts whole seconds


def now():
    return datetime.now(UTC)  # noqa: TID251 - whoever runs the command has a clock


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def staging(s3_account):
    return S3Staging(s3_account)


@pytest.fixture
def collected(sessions, blobs, staging):
    def collected(*, grace=NO_GRACE, dry_run=False, at=None):
        return collect(sessions, blobs, staging, grace=grace, dry_run=dry_run, now=at or now())

    return collected


@pytest.fixture
def orphan(blobs):
    """Store bytes that no version refers to; return their digest."""

    def orphan(content):
        blobs.put(BytesIO(content), digest=digest_of(content), size_bytes=len(content))
        return digest_of(content)

    return orphan


def is_stored(blobs, digest):
    return digest in {blob.digest for blob in blobs.stored()}


@pytest.fixture
def damage(s3_server):
    """Put other bytes in the place of an object, as a fault or an intruder would."""

    def damage(digest, content):
        client = s3_client(s3_server)
        client.put_object(Bucket=s3_server.bucket, Key=key_of(digest), Body=content)
        client.close()

    return damage


def test_bytes_without_a_version_are_removed_and_those_with_one_stay(
    world, blobs, collected, orphan
):
    version = world.a_version()
    stray = orphan(world.namespace.encode())

    found = collected()

    assert found.objects >= 1
    assert not is_stored(blobs, stray)
    assert all(is_stored(blobs, file["sha256"]) for file in version["files"])
    assert world.last_entry("registry")["action"] == "storage.collect"


def test_a_dry_run_removes_nothing_and_says_what_it_would(world, blobs, collected, orphan):
    stray = orphan(world.namespace.encode())
    before = world.verification("registry")["entries"]

    assert collected(dry_run=True).objects >= 1

    assert is_stored(blobs, stray)
    assert world.verification("registry")["entries"] == before


def test_young_bytes_are_left_alone(world, blobs, collected, orphan):
    stray = orphan(world.namespace.encode())
    collected(grace=timedelta(hours=1))
    assert is_stored(blobs, stray)


def test_bytes_that_a_push_has_leased_are_left_alone(world, sessions, blobs, collected, orphan):
    stray = orphan(world.namespace.encode())
    with sessions.begin() as session:
        pin(session, {stray}, now() + timedelta(minutes=1))
    collected()
    assert is_stored(blobs, stray)


def test_expired_uploads_are_removed(world, staging, collected):
    world.a_version()
    kept, expired = uploaded(world, weights(2)), announce(world, weights(3)).json()
    del expired
    assert collected(at=now() + timedelta(hours=25)).uploads >= 2
    with staging.open(f"uploads/{kept['id']}") as chunks:
        assert chunks is None


def test_no_version_loses_its_bytes_to_a_collection_that_runs_meanwhile(world, blobs, collected):
    """Each version is pushed where its bytes lie about already, about to be collected."""
    world.a_version(seed=1000)
    stop = threading.Event()

    def collecting():
        while not stop.is_set():
            collected()

    collector = threading.Thread(target=collecting)
    collector.start()
    try:
        versions = []
        for seed in range(12):
            content = weights(seed)
            blobs.put(BytesIO(content), digest=digest_of(content), size_bytes=len(content))
            response = world.push(seed=seed)
            assert response.status_code == 201, response.text
            versions.append(response.json())
    finally:
        stop.set()
        collector.join()

    collected()
    stored = {blob.digest for blob in blobs.stored()}
    assert {file["sha256"] for version in versions for file in version["files"]} <= stored


def test_a_scrub_marks_damage_and_takes_it_back_once_the_bytes_are_whole(
    world, sessions, blobs, damage
):
    version = world.a_version(seed=7)
    digest = version["files"][1]["sha256"]
    damage(digest, b"other bytes")

    found = scrub(sessions, blobs, now=now(), progress=lambda _: None)

    assert f"{world.prefix}@1" in found.damaged[digest]
    shown = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert shown["damaged"] == ["adapter_model.safetensors"]
    assert world.actions()[-1] == "version.damage"

    damage(digest, weights(7))
    assert digest not in scrub(sessions, blobs, now=now(), progress=lambda _: None).damaged
    assert world.made("GET", f"{world.path}/versions/1", by="publisher")["damaged"] == []
    assert world.actions()[-1] == "version.repair"


def test_a_scrub_tells_how_far_it_is(world, sessions, blobs):
    world.a_version()
    told = []
    found = scrub(sessions, blobs, now=now(), progress=told.append)
    assert (len(told), sum(told)) == (found.objects, found.size_bytes)


def test_a_download_of_damaged_bytes_is_refused_and_marks_the_version_once(world, damage):
    version = world.a_version(seed=8)
    digest = version["files"][1]["sha256"]
    flipped = bytearray(weights(8))
    flipped[-1] ^= 1
    damage(digest, bytes(flipped))

    for _ in range(2):
        path = f"{world.path}/versions/1/files/adapter_model.safetensors"
        response = world.call("GET", path, by="publisher")
        assert (response.status_code, response.json()["type"]) == (500, "/problems/damaged-object")

    assert world.actions().count("version.damage") == 1
    damage(digest, weights(8))


def test_the_command_collects_only_when_told_to_delete(run, blobs, orphan, world):
    stray = orphan(world.namespace.encode())
    status, told = run("collect", "--grace-hours", "0")
    assert (status, told.startswith("Would remove")) == (0, True)
    assert is_stored(blobs, stray)

    _, told = run("collect", "--grace-hours", "0", "--delete")
    assert told.startswith("Removed")


def test_the_command_scrubs_and_fails_on_damage(run, world, damage):
    version = world.a_version(seed=9)
    assert run("scrub")[0] == 0
    digest = version["files"][1]["sha256"]
    damage(digest, b"other bytes")

    status, told = run("scrub")

    assert status == 2
    assert f"Damaged: {digest} of " in told
    assert f"{world.prefix}@1" in told
    damage(digest, weights(9))
    assert run("scrub")[0] == 0


def test_what_a_version_came_to_refer_to_meanwhile_is_not_removed(
    world, sessions, blobs, staging, orphan
):
    world.a_version(seed=1)
    first, second = sorted((weights(seed) for seed in (7001, 7002)), key=digest_of)
    for content in (first, second):
        orphan(content)

    class PushedMeanwhile:
        """Blobs during whose first deletion somebody pushes the other object."""

        def __getattr__(self, name):
            return getattr(blobs, name)

        def delete(self, digest):
            blobs.delete(digest)
            if digest == digest_of(first):
                assert world.push(weights=second).status_code == 201

    later = now() + timedelta(hours=2)  # the push's lease has ended
    collect(sessions, PushedMeanwhile(), staging, grace=timedelta(0), dry_run=False, now=later)

    assert not is_stored(blobs, digest_of(first))
    assert is_stored(blobs, digest_of(second))


def test_taking_back_a_mark_that_is_not_there_records_nothing(world, sessions):
    version = world.a_version()
    unmark(sessions, digest=version["files"][0]["sha256"], now=now())
    assert world.actions() == ["prefix.create", "version.push"]
