"""Quotas where they take effect: pushes, uploads, commits and evidence, also concurrent ones."""

import base64
import hashlib
import json
import random
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select, text

from app.db.models import AuditEntry
from app.domain.artifacts.quotas import QuotaLimits
from app.services.artifacts import quotas
from app.services.artifacts.uploads import LIFETIME
from app.services.transactions import transactions_of_server
from tests.services.artifacts.test_uploads import announce, uploaded
from tests.services.artifacts.test_uploads import push as push_uploads
from tests.services.evidence.test_submissions_samples import record, rows
from tests.support.adapters import a_config
from tests.support.builders import code, weights
from tests.support.racing import by_as_many_clients

SIZE = len(a_config()) + len(weights())
PUSHERS = 16


def quota(world, *, by="admin"):
    return world.made("GET", f"/v1/namespaces/{world.namespace}/quota", by=by)


def limit(world, **limits):
    body = {"stored_bytes": None, "versions": None, "requests": None} | limits
    return world.made("PUT", f"/v1/namespaces/{world.namespace}/quota", by="admin", json=body)


def recorded_about(world, action):
    """Return the facts of the entries about the world's namespace, the oldest first."""
    entry = AuditEntry
    about = entry.facts["namespace"].astext == world.namespace
    statement = select(entry.facts).where(entry.action == action, about).order_by(entry.sequence)
    with world.client.app.state.parts.sessions() as session:
        return session.scalars(statement).all()


def used(world):
    found = quota(world)
    return found["stored_bytes"]["used"], found["versions"]["used"]


def commit(world, *, seed=0, lfs=(), headers=None):
    """Commit an adapter as a Hugging Face client does, with some files as Git LFS."""
    readme = f"---\nbase_digest: {world.base}\n---\n".encode()
    files = {
        "adapter_config.json": a_config(),
        "adapter_model.safetensors": world.weights(seed),
        "README.md": readme,
    }
    lines = [{"key": "header", "value": {"summary": "push"}}]
    for path, content in files.items():
        value = {"path": path, "content": base64.b64encode(content).decode()}
        if path in lfs:
            oid = hashlib.sha256(content).hexdigest()
            value = {"path": path, "oid": oid, "size": len(content), "algo": "sha256"}
        lines.append({"key": "lfsFile" if path in lfs else "file", "value": value})
    return world.call(
        "POST",
        f"/api/models/{world.prefix}/commit/main",
        by="publisher",
        content="\n".join(json.dumps(line) for line in lines),
        headers={"Content-Type": "application/x-ndjson"} | (headers or {}),
    )


def batch(world, *sizes):
    objects = [{"oid": f"{number:064x}", "size": size} for number, size in enumerate(sizes)]
    path = f"/{world.prefix}.git/info/lfs/objects/batch"
    body = {"operation": "upload", "objects": objects}
    return world.call("POST", path, by="publisher", json=body)


@pytest.fixture
def prefix(world):
    """A prefix with one version, whose use is counted."""
    world.a_version(seed=1)
    return world


def test_use_is_counted_by_the_bytes_of_every_version(prefix):
    assert used(prefix) == (SIZE, 1)
    assert prefix.push(seed=2).status_code == 201
    assert commit(prefix, seed=3).status_code == 200
    assert used(prefix) == (3 * SIZE, 3)


def test_equal_content_counts_once_in_a_prefix_and_again_in_another(prefix):
    assert prefix.push(seed=1).status_code == 200
    assert used(prefix) == (SIZE, 1)
    prefix.a_prefix(name="another")
    prefix.path = prefix.path.replace("/voice", "/another")
    assert prefix.push(seed=1).status_code == 201
    assert used(prefix) == (2 * SIZE, 2)


def test_a_revoked_version_still_counts(prefix):
    prefix.revoke({"number": 1})
    assert used(prefix) == (SIZE, 1)


def test_the_files_of_an_evaluation_count(prefix):
    prefix.a_suite()
    version = prefix.made("GET", f"{prefix.path}/versions/1", by="publisher")
    recorded = record(prefix, version, rows(2)).json()
    stored = sum(file["size_bytes"] for file in recorded["files"])
    assert stored > 0
    assert used(prefix) == (SIZE + stored, 1)


def by_multipart(world, stage):
    return world.push(seed=stage.seed)


def by_uploads(world, stage):
    return push_uploads(world, *stage.uploads)


def by_commit(world, stage):
    return commit(world, seed=stage.seed)


def by_lfs_commit(world, stage):
    return commit(world, seed=stage.seed, lfs=["adapter_model.safetensors"])


def staged(world):
    """Upload files that no other test has, so that nobody else stores their bytes."""
    seed = random.randrange(1 << 10, 1 << 20)
    uploads = uploaded(world, a_config()), uploaded(world, world.weights(seed))
    return SimpleNamespace(seed=seed, uploads=uploads)


WAYS = [by_multipart, by_uploads, by_commit, by_lfs_commit]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "limits", [{"stored_bytes": 2 * SIZE - 1}, {"versions": 1}, {"stored_bytes": 1}]
)
def test_a_push_beyond_the_quota_is_refused_and_leaves_nothing(prefix, blobs, way, limits):
    stage = staged(prefix)
    limit(prefix, **limits)

    response = way(prefix, stage)

    assert response.status_code == 409
    refusal = response.json()
    if way in (by_multipart, by_uploads):
        assert code(response) == "quota-exceeded"
        assert {each["resource"] for each in refusal["exceeded"]} <= set(limits)
    else:
        assert prefix.namespace in refusal["error"]
    assert used(prefix) == (SIZE, 1)
    assert prefix.actions() == ["prefix.create", "version.push"]
    digest = f"sha256:{hashlib.sha256(prefix.weights(stage.seed)).hexdigest()}"
    assert digest not in {each.digest for each in blobs.stored()}


@pytest.mark.parametrize("way", WAYS)
def test_a_push_that_fills_the_quota_is_accepted(prefix, way):
    stage = staged(prefix)
    limit(prefix, stored_bytes=2 * SIZE, versions=2)
    assert way(prefix, stage).is_success
    assert used(prefix) == (2 * SIZE, 2)


def test_of_concurrent_pushers_exactly_as_many_succeed_as_fit(prefix):
    """Each pushes to a prefix of its own, so no turn and no lock of a prefix orders them."""
    names = [f"voice-{number}" for number in range(PUSHERS)]
    for name in names:
        prefix.a_prefix(name=name)
    limit(prefix, stored_bytes=6 * SIZE, versions=9)

    def pushing(name):
        def push(world):
            world.path = f"/v1/prefixes/{world.namespace}/{name}"
            return world.push(seed=2)

        return push

    responses = by_as_many_clients(prefix, [pushing(name) for name in names])

    assert Counter(response.status_code for response in responses) == {201: 5, 409: PUSHERS - 5}
    assert used(prefix) == (6 * SIZE, 6)


def test_the_transaction_refuses_what_the_earlier_checks_let_through(prefix, monkeypatch):
    limit(prefix, versions=2)
    monkeypatch.setattr("app.services.artifacts.quotas.quota_of", unlimited)
    assert prefix.push(seed=2).status_code == 201
    refused = prefix.push(seed=3)
    assert (refused.status_code, code(refused)) == (409, "quota-exceeded")
    assert refused.json()["exceeded"] == [
        {"resource": "versions", "limit": 2, "used": 2, "requested": 1}
    ]
    monkeypatch.undo()
    assert used(prefix) == (2 * SIZE, 2)
    assert len(prefix.made("GET", f"{prefix.path}/versions", by="publisher")["items"]) == 2
    assert prefix.actions() == ["prefix.create", "version.push", "version.push"]


def unlimited(_session, namespace):
    return quotas.NamespaceQuota(namespace, own=quotas.OwnLimits(1 << 40, 1 << 20, 1 << 10))


def test_the_settings_apply_to_a_namespace_without_limits_of_its_own(world, world_on):
    world.a_version(seed=1)
    other = world_on(quota=QuotaLimits(stored_bytes=2 * SIZE, versions=1, requests=9))
    other.namespace, other.prefix, other.path = world.namespace, world.prefix, world.path
    other.base = world.base
    assert code(other.push(seed=2)) == "quota-exceeded"
    assert world.push(seed=2).status_code == 201
    limit(other, versions=3)
    assert code(other.push(seed=3)) == "quota-exceeded"
    limit(other, versions=3, stored_bytes=3 * SIZE)
    assert other.push(seed=3).status_code == 201


def test_a_lower_limit_removes_nothing(prefix):
    limit(prefix, stored_bytes=1, versions=1)
    assert prefix.made("GET", f"{prefix.path}/versions/1", by="publisher")["number"] == 1
    assert code(prefix.push(seed=2)) == "quota-exceeded"
    assert used(prefix) == (SIZE, 1)


def test_content_that_is_a_version_already_needs_no_room(prefix):
    limit(prefix, stored_bytes=2 * SIZE - 1)
    assert prefix.push(seed=1).status_code == 200
    assert code(prefix.push(seed=2)) == "quota-exceeded"


def test_a_retry_gets_its_answer_from_a_full_namespace(prefix):
    limit(prefix, versions=2)
    headers = {"Idempotency-Key": f"{prefix.namespace}-push"}
    first = prefix.push(seed=2, headers=headers)
    again = prefix.push(seed=2, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    other = prefix.push(seed=3, headers={"Idempotency-Key": f"{prefix.namespace}-another"})
    assert code(other) == "quota-exceeded"


# Announced uploads


def test_an_announcement_beyond_the_quota_is_refused(prefix):
    limit(prefix, stored_bytes=SIZE + 10)
    assert announce(prefix, b"", size_bytes=10).status_code == 201
    refused = announce(prefix, b"", size_bytes=11)
    assert (refused.status_code, code(refused)) == (409, "quota-exceeded")


def test_all_announced_uploads_of_a_namespace_are_bounded_until_they_expire(prefix, time):
    limit(prefix, stored_bytes=SIZE + 100)
    room = SIZE + 100
    responses = [announce(prefix, b"", size_bytes=100) for _ in range(room // 100 + 1)]
    assert [each.status_code for each in responses] == [201] * (room // 100) + [409]
    assert responses[-1].json()["exceeded"][0]["resource"] == "announced_bytes"
    time.ahead = LIFETIME + timedelta(seconds=1)
    assert announce(prefix, b"", size_bytes=100).status_code == 201


def test_concurrent_announcements_never_pass_the_limit(prefix):
    limit(prefix, stored_bytes=SIZE + 1000)
    each = (SIZE + 1000) // 4
    calls = [lambda world: announce(world, b"", size_bytes=min(each, 1000))] * PUSHERS
    responses = by_as_many_clients(prefix, calls)
    fitting = (SIZE + 1000) // min(each, 1000)
    assert Counter(response.status_code for response in responses) == {
        201: min(fitting, PUSHERS),
        **({409: PUSHERS - fitting} if fitting < PUSHERS else {}),
    }


def test_a_batch_of_git_lfs_is_announced_as_a_whole_or_not_at_all(prefix, sessions):
    limit(prefix, stored_bytes=SIZE + 100)
    with sessions() as session:
        before = session.scalar(text("SELECT count(*) FROM upload"))
    assert batch(prefix, 60, 60).status_code == 409
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM upload")) == before
    assert batch(prefix, 60, 40).status_code == 200


def test_of_concurrent_batches_as_many_are_announced_as_fit(prefix):
    """A batch that announced only some of its files would take their room for a day."""
    limit(prefix, stored_bytes=SIZE + 1000)
    each = (SIZE + 1000) // 5
    sizes = (min(each, 1000) // 2,) * 2
    responses = by_as_many_clients(prefix, [lambda world: batch(world, *sizes)] * PUSHERS)
    fitting = min((SIZE + 1000) // sum(sizes), PUSHERS)
    assert Counter(response.status_code for response in responses) == {
        200: fitting,
        409: PUSHERS - fitting,
    }


def test_a_hugging_face_client_learns_of_the_quota_before_it_sends_files(prefix):
    limit(prefix, stored_bytes=SIZE + 100)
    path = f"/api/models/{prefix.prefix}/preupload/main"
    files = [{"path": "adapter_model.safetensors", "size": 101}, {"path": "notes", "size": 10**9}]
    refused = prefix.call("POST", path, by="publisher", json={"files": files})
    assert refused.status_code == 409
    assert prefix.namespace in refused.headers["X-Error-Message"]
    files[0]["size"] = 100
    assert prefix.call("POST", path, by="publisher", json={"files": files}).status_code == 200


# Evidence


def test_evidence_beyond_the_quota_is_refused_and_a_report_without_files_is_not(prefix):
    prefix.a_suite()
    version = prefix.made("GET", f"{prefix.path}/versions/1", by="publisher")
    limit(prefix, stored_bytes=1)
    refused = record(prefix, version, rows(2))
    assert (refused.status_code, code(refused)) == (409, "quota-exceeded")
    assert prefix.evaluate(version).status_code == 201
    assert used(prefix) == (SIZE, 1)


def test_a_control_run_belongs_to_no_namespace(prefix):
    limit(prefix, stored_bytes=1)
    prefix.a_suite()
    prefix.base = None
    base = prefix.a_base(own=True)
    path = f"/v1/base-models/{base}/evaluations"
    report = prefix.report({"digest": base})
    assert prefix.call("POST", path, by="evaluator", json=report).status_code == 201


# The counters


@pytest.fixture
def miscounted(administered):
    """A namespace whose counters were changed beside the registry."""
    world, connection = administered
    world.a_version(seed=1)
    statement = "UPDATE namespace_quota SET used_bytes = 5, used_versions = 7 WHERE namespace = :n"
    connection.execute(text(statement), {"n": world.namespace})
    return world


def check(world, **options):
    sessions = world.client.app.state.parts.sessions
    found = quotas.miscounts(transactions_of_server(sessions), **options)
    return [each for each in found if each.namespace == world.namespace]


def test_a_counter_that_differs_from_the_rows_is_found_and_repaired_on_the_record(miscounted):
    (found,) = check(miscounted)
    assert (found.recorded, found.counted) == (quotas.Stored(5, 7), quotas.Stored(SIZE, 1))
    assert used(miscounted) == (5, 7)
    assert check(miscounted, repair=True) == [found]
    assert used(miscounted) == (SIZE, 1)
    assert check(miscounted) == []
    assert recorded_about(miscounted, "quota.recount") == [
        {
            "namespace": miscounted.namespace,
            "recorded": {"stored_bytes": 5, "versions": 7},
            "counted": {"stored_bytes": SIZE, "versions": 1},
        }
    ]


def test_counters_agree_with_the_rows_after_every_kind_of_addition(prefix, sessions):
    prefix.a_suite()
    version = prefix.made("GET", f"{prefix.path}/versions/1", by="publisher")
    record(prefix, version, rows(2))
    commit(prefix, seed=4)
    for _ in range(2):
        prefix.push(seed=4)
    push_uploads(prefix, uploaded(prefix, a_config()), uploaded(prefix, weights(5)))
    found = quotas.miscounts(transactions_of_server(sessions))
    assert prefix.namespace not in {each.namespace for each in found}
    assert used(prefix)[1] == 4


def test_the_command_ends_with_status_2_until_the_counters_are_repaired(run, world, engine):
    world.a_version(seed=1)
    with engine.begin() as connection:
        statement = "UPDATE namespace_quota SET used_versions = 7 WHERE namespace = :n"
        connection.execute(text(statement), {"n": world.namespace})
    status, output = run("check-quotas")
    assert (status, f"{world.namespace}: counted" in output) == (2, True)
    assert run("check-quotas", "--repair")[0] == 0
    assert run("check-quotas") == (0, "All counters agree with the rows.\n")


def test_a_push_between_reading_counters_and_rows_is_no_miscount(prefix, sessions, monkeypatch):
    monkeypatch.setattr(quotas, "recorded_use", lambda _: {prefix.namespace: quotas.Stored(1, 1)})
    assert quotas.miscounts(transactions_of_server(sessions), repair=True) == []
    assert used(prefix) == (SIZE, 1)
    assert recorded_about(prefix, "quota.recount") == []


def test_a_repair_while_pushes_run_loses_none_of_them(prefix, sessions):
    names = [f"voice-{number}" for number in range(8)]
    for name in names:
        prefix.a_prefix(name=name)

    def pushing(name):
        def push(world):
            world.path = f"/v1/prefixes/{world.namespace}/{name}"
            return world.push(seed=2).status_code

        return push

    def repair(world):
        return len(check(world, repair=True))

    calls = [each for name in names for each in (pushing(name), repair)]
    results = by_as_many_clients(prefix, calls)
    assert Counter(results) == {201: len(names), 0: len(names)}
    assert used(prefix) == (9 * SIZE, 9)
    assert check(prefix) == []
