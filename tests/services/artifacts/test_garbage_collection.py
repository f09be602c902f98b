"""Garbage collection of unreferenced objects, and scrubbing of referenced ones."""

import hashlib
import threading
import uuid
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from app.db.blobs import pin
from app.services.artifacts import garbage_collection, spooled_files
from app.services.artifacts.blob_damage import mark, unmark
from app.services.artifacts.garbage_collection import collect, scrub
from app.storage.blobs import key_of
from app.storage.s3_staging import S3Staging
from tests.services.artifacts.test_uploads import announce, uploaded
from tests.support.builders import weights

NO_GRACE = timedelta(seconds=-5)  # negative, because the store's clock has whole seconds


def now():
    return datetime.now(UTC)  # noqa: TID251 - as the command reads the clock


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def staging(s3_account):
    return S3Staging(s3_account)


@pytest.fixture
def collected(sessions, blobs, staging, time):
    def collected(*, grace=NO_GRACE, dry_run=False, ahead=timedelta(0)):
        time.ahead = ahead
        return collect(sessions, blobs, staging, grace=grace, dry_run=dry_run)

    return collected


@pytest.fixture
def orphan(blobs):
    """Store an object to which no version refers; return its digest."""

    def orphan(content):
        blobs.put(BytesIO(content), digest=digest_of(content), size_bytes=len(content))
        return digest_of(content)

    return orphan


def is_stored(blobs, digest):
    return digest in {blob.digest for blob in blobs.stored()}


@pytest.fixture
def damage(s3, s3_server):
    """Overwrite an object with other bytes, as a fault or an intruder would."""

    def damage(digest, content):
        s3.put_object(Bucket=s3_server.bucket, Key=key_of(digest), Body=content)

    return damage


def test_unreferenced_objects_are_removed_and_referenced_ones_stay(world, blobs, collected, orphan):
    version = world.a_version()
    stray = orphan(world.namespace.encode())

    found = collected()

    assert found.objects >= 1
    assert not is_stored(blobs, stray)
    assert all(is_stored(blobs, file["sha256"]) for file in version["files"])
    assert world.last_entry("registry")["action"] == "storage.collect"


def test_a_dry_run_removes_nothing_and_counts_the_candidates(world, blobs, collected, orphan):
    stray = orphan(world.namespace.encode())
    before = world.verification("registry")["entries"]

    assert collected(dry_run=True).objects >= 1

    assert is_stored(blobs, stray)
    assert world.verification("registry")["entries"] == before


def test_young_objects_are_not_removed(world, blobs, collected, orphan):
    stray = orphan(world.namespace.encode())
    collected(grace=timedelta(hours=1))
    assert is_stored(blobs, stray)


def test_pinned_objects_are_not_removed(world, sessions, blobs, collected, orphan):
    stray = orphan(world.namespace.encode())
    with sessions.begin() as session:
        pin(session, {stray}, now() + timedelta(minutes=1))
    collected()
    assert is_stored(blobs, stray)


def test_expired_uploads_are_removed(world, staging, collected):
    world.a_version()
    kept, expired = uploaded(world, weights(2)), announce(world, weights(3)).json()
    del expired
    assert collected(ahead=timedelta(hours=25)).uploads >= 2
    with staging.open(f"uploads/{kept['id']}") as chunks:
        assert chunks is None


def test_no_version_loses_its_objects_to_a_concurrent_collection(world, blobs, collected):
    """Each version is pushed when its object is stored already and about to be collected."""
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


def test_a_scrub_marks_damage_and_unmarks_repaired_objects(world, sessions, blobs, damage):
    version = world.a_version(seed=7)
    digest = version["files"][1]["sha256"]
    damage(digest, b"other bytes")

    found = scrub(sessions, blobs, progress=lambda _: None)

    assert f"{world.prefix}@1" in found.damaged[digest]
    shown = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert shown["damaged"] == ["adapter_model.safetensors"]
    assert world.actions()[-1] == "version.damage"

    damage(digest, world.weights(7))
    assert digest not in scrub(sessions, blobs, progress=lambda _: None).damaged
    assert world.made("GET", f"{world.path}/versions/1", by="publisher")["damaged"] == []
    assert world.actions()[-1] == "version.repair"


def test_a_scrub_reports_its_progress(world, sessions, blobs):
    world.a_version()
    progress = []
    found = scrub(sessions, blobs, progress=progress.append)
    assert (len(progress), sum(progress)) == (found.objects, found.size_bytes)


def test_a_download_of_damaged_bytes_is_refused_and_marks_the_version_once(world, damage):
    version = world.a_version(seed=8)
    digest = version["files"][1]["sha256"]
    flipped = bytearray(world.weights(8))
    flipped[-1] ^= 1
    damage(digest, bytes(flipped))

    for _ in range(2):
        path = f"{world.path}/versions/1/files/adapter_model.safetensors"
        response = world.call("GET", path, by="publisher")
        assert (response.status_code, response.json()["type"]) == (500, "/problems/damaged-object")

    assert world.actions().count("version.damage") == 1
    damage(digest, world.weights(8))


def test_the_command_collects_only_with_the_delete_option(run, blobs, orphan, world):
    stray = orphan(world.namespace.encode())
    status, output = run("collect", "--grace-hours", "0")
    assert (status, output.startswith("Would remove")) == (0, True)
    assert is_stored(blobs, stray)

    _, output = run("collect", "--grace-hours", "0", "--delete")
    assert output.startswith("Removed")


@pytest.mark.parametrize("hours", ["nan", "inf", "1e300", "-1", "24h"])
def test_the_command_takes_only_hours_that_can_be_counted_back(run, orphan, blobs, world, hours):
    stray = orphan(world.namespace.encode())
    status, _ = run("collect", f"--grace-hours={hours}", "--delete")
    assert status != 0
    assert is_stored(blobs, stray)


def test_the_command_scrubs_and_fails_on_damage(run, world, damage):
    version = world.a_version(seed=9)
    assert run("scrub")[0] == 0
    digest = version["files"][1]["sha256"]
    damage(digest, b"other bytes")

    status, output = run("scrub")

    assert status == 2
    assert f"Damaged: {digest} of " in output
    assert f"{world.prefix}@1" in output
    damage(digest, world.weights(9))
    assert run("scrub")[0] == 0


def test_an_object_that_becomes_referenced_during_a_collection_is_not_removed(
    world, sessions, blobs, staging, orphan, time
):
    world.a_version(seed=1)
    first, second = sorted((weights(seed) for seed in (7001, 7002)), key=digest_of)
    for content in (first, second):
        orphan(content)

    class PushDuringDeletion:
        """Blobs that push the second object while the first one is deleted."""

        def __getattr__(self, name):
            return getattr(blobs, name)

        def delete(self, digest):
            blobs.delete(digest)
            if digest == digest_of(first):
                assert world.push(weights=second).status_code == 201
                time.ahead = timedelta(hours=4)  # the push's pins have expired

    time.ahead = timedelta(hours=2)
    collect(sessions, PushDuringDeletion(), staging, grace=timedelta(0), dry_run=False)

    assert not is_stored(blobs, digest_of(first))
    assert is_stored(blobs, digest_of(second))


def test_unmarking_an_unmarked_object_records_nothing(world, sessions):
    version = world.a_version()
    unmark(sessions, digest=version["files"][0]["sha256"])
    assert world.actions() == ["prefix.create", "version.push"]


class CrashedError(Exception):
    """The collection ends here, as if its process was killed."""


class CrashingBlobs:
    """Blobs whose deletion crashes, before or after the store has done it."""

    def __init__(self, blobs, *, deletes):
        self.blobs = blobs
        self.deletes = deletes

    def __getattr__(self, name):
        return getattr(self.blobs, name)

    def delete(self, digest):
        if self.deletes:
            self.blobs.delete(digest)
        raise CrashedError


@pytest.mark.parametrize("deletes", [False, True])
def test_after_a_crash_while_deleting_a_push_and_a_collection_go_on(
    world, sessions, blobs, staging, orphan, collected, time, monkeypatch, deletes
):
    monkeypatch.setattr(spooled_files, "_COLLECTION_S", 0)
    world.a_version(seed=1)
    collected()
    content = weights(7003 + deletes)
    stray = orphan(content)
    with pytest.raises(CrashedError):
        collect(
            sessions,
            CrashingBlobs(blobs, deletes=deletes),
            staging,
            grace=NO_GRACE,
            dry_run=False,
        )

    assert world.push(weights=content).status_code == 503  # the deletion may still arrive
    collected()
    assert is_stored(blobs, stray) is not deletes  # another collection does not interfere

    time.ahead = timedelta(minutes=16)
    assert world.push(weights=content).status_code == 201
    collected(ahead=timedelta(minutes=16))
    assert is_stored(blobs, stray)


def test_a_push_waits_for_the_deletion_of_its_object(world, sessions, blobs, staging, orphan):
    world.a_version(seed=1)
    content = weights(7005)
    stray, pushed = orphan(content), []

    class Slow:
        """Blobs during whose deletion the object is pushed."""

        def __getattr__(self, name):
            return getattr(blobs, name)

        def delete(self, digest):
            if digest == stray:
                push = threading.Thread(target=lambda: pushed.append(world.push(weights=content)))
                pushed.append(push)
                push.start()
                push.join(0.5)
                assert push.is_alive()
            blobs.delete(digest)

    collect(sessions, Slow(), staging, grace=NO_GRACE, dry_run=False)
    pushed[0].join()
    assert pushed[1].status_code == 201
    assert is_stored(blobs, stray)


def test_uploads_without_a_row_are_removed_when_they_are_old(staging, collected, monkeypatch):
    monkeypatch.setattr(garbage_collection, "LIFETIME", timedelta(seconds=-10))
    key = f"uploads/{uuid.uuid4()}"
    begun = staging.begin(key)
    assert (key, begun) in {(each.key, each.multipart_id) for each in staging.leftovers("uploads/")}
    assert collected(dry_run=True).uploads >= 1
    assert collected().uploads >= 1
    assert key not in {each.key for each in staging.leftovers("uploads/")}


def test_other_objects_and_announced_uploads_are_no_leftovers(
    world, s3, s3_server, staging, collected, monkeypatch
):
    monkeypatch.setattr(garbage_collection, "LIFETIME", timedelta(seconds=-10))
    world.a_version()
    kept = f"uploads/{uploaded(world, weights(4))['id']}"
    other = f"uploads/of-another-{world.namespace}"
    s3.put_object(Bucket=s3_server.bucket, Key=other, Body=b"x")
    collected()
    assert {kept, other} <= {each.key for each in staging.leftovers("uploads/")}
    s3.delete_object(Bucket=s3_server.bucket, Key=other)


def test_a_collection_that_was_suspended_deletes_nothing(
    world, sessions, blobs, staging, orphan, monkeypatch
):
    stray = orphan(world.namespace.encode())
    passed = iter(range(0, 10**9, 61))
    monkeypatch.setattr(garbage_collection, "elapsed", lambda: next(passed))
    collect(sessions, blobs, staging, grace=NO_GRACE, dry_run=False)
    assert is_stored(blobs, stray)


def test_young_uploads_without_a_row_stay(staging, collected):
    key = f"uploads/{uuid.uuid4()}"
    begun = staging.begin(key)
    collected()
    assert key in {each.key for each in staging.leftovers("uploads/")}
    staging.discard(key, begun)


def test_damage_of_evidence_alone_is_on_the_chain_of_the_registry(world, sessions):
    digest = digest_of(world.namespace.encode())
    assert mark(sessions, digest=digest, problem="its hash") == []
    facts = {"digest": digest, "versions": [], "problem": "its hash"}
    marked = world.last_entry("registry")
    assert (marked["action"], marked["facts"]) == ("version.damage", facts)
    unmark(sessions, digest=digest)
    repaired = world.last_entry("registry")
    assert (repaired["action"], repaired["facts"]) == ("version.repair", {"digest": digest})
