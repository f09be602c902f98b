"""A request repeated with its idempotency key takes effect once and gets the same response."""

import json
import os
import signal
import subprocess
import sys
import uuid
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import func, select

from app.db.idempotency import claim_key
from app.db.models import ApiToken, IdempotencyRecord, Upload
from app.domain.idempotency import STORED_FOR
from app.domain.identity.tokens import token_hash
from app.services import idempotency
from app.services.artifacts.garbage_collection import collect
from app.storage.s3_staging import S3Staging
from tests.support.adapters import a_config
from tests.support.blobs import MemoryBlobs
from tests.support.builders import a_base_model, a_suite, code, weights
from tests.support.observing import ROOT
from tests.support.racing import by_as_many_clients


def keyed(key=None):
    return {"Idempotency-Key": key or str(uuid.uuid4())}


def same(first, again):
    """Whether `again` is the stored response of `first`."""
    names = ("content-type", "location")
    return (
        (again.status_code, again.content) == (first.status_code, first.content)
        and [again.headers.get(n) for n in names] == [first.headers.get(n) for n in names]
        and "idempotent-replayed" not in first.headers
        and again.headers.get("idempotent-replayed") == "true"
    )


def create_prefix(world, *, by="publisher", headers=None, **changes):
    body = {"namespace": world.namespace, "name": "voice", "owner": "admin"} | changes
    return world.call("POST", "/v1/prefixes", by=by, json=body, headers=headers or {})


# Replayed responses


def test_a_retry_gets_the_first_response_and_changes_nothing(world):
    headers = keyed()
    first, again = (create_prefix(world, headers=headers) for _ in range(2))
    assert (first.status_code, same(first, again)) == (201, True)
    assert code(create_prefix(world)) == "already-exists"  # without the key
    assert world.actions() == ["prefix.create"]


def test_actions_take_effect_once(world):
    """Without a key, each of these would refuse its repetition."""
    approved = world.a_promotion()
    withdrawn = world.request({"number": 1}).json()
    other = world.a_version(seed=1)
    evaluation = world.evaluate(other).json()
    actions = [
        ("approver-1", f"/v1/evaluations/{evaluation['id']}/void", {"reason": "broken"}),
        ("approver-1", f"/v1/promotions/{approved['id']}/reviews", {"verdict": "approve"}),
        ("publisher", f"/v1/promotions/{withdrawn['id']}/withdraw", None),
    ]
    for by, path, body in actions:
        headers = keyed()
        first, again = (
            world.call("POST", path, by=by, json=body, headers=headers) for _ in range(2)
        )
        assert (first.status_code, same(first, again)) == (200, True), first.text
    assert world.actions().count("promotion.approve") == 1
    assert world.verification()["valid"]


def test_a_stored_response_is_replayed_even_if_it_is_outdated(world):
    headers = keyed()
    suite = a_suite()
    first = world.call("POST", "/v1/suites", by="admin", json=suite, headers=headers)
    plain = world.call("POST", "/v1/suites", by="admin", json=suite)
    again = world.call("POST", "/v1/suites", by="admin", json=suite, headers=headers)
    assert (first.status_code, plain.status_code, same(first, again)) == (201, 200, True)


def test_a_push_is_identified_by_its_parts_and_not_by_its_boundary(world):
    """An HTTP library generates a new boundary for each attempt."""
    world.a_base()
    world.a_prefix()
    parts = {
        "version": json.dumps({"base_model": world.base}),
        "config": a_config(),
        "weights": weights(),
    }
    headers = keyed()
    boundaries = set()

    def push(**changes):
        files = {name: (name, content) for name, content in (parts | changes).items()}
        response = world.call(
            "POST", f"{world.path}/versions", by="publisher", files=files, headers=headers
        )
        boundaries.add(response.request.headers["content-type"])
        return response

    first, again = push(), push()
    assert (first.status_code, same(first, again), len(boundaries)) == (201, True, 2)
    assert code(push(weights=weights(seed=1))) == "idempotency-key-reused"


def test_evidence_with_samples_is_recorded_once(world):
    world.a_suite()
    version = world.a_version()
    headers = keyed()
    path = f"{world.path}/versions/1/evaluations"
    report = world.report(version)
    first, again = (
        world.call("POST", path, by="evaluator", json=report, headers=headers) for _ in range(2)
    )
    assert (first.status_code, same(first, again)) == (201, True)
    assert len(world.made("GET", path, by="evaluator")["items"]) == 1


def test_concurrent_requests_take_effect_once(world):
    headers = keyed()
    calls = [lambda each: create_prefix(each, headers=headers)] * 8
    responses = by_as_many_clients(world, calls)
    statuses = {response.status_code for response in responses}
    assert statuses <= {201, 409}
    assert {code(response) for response in responses if response.status_code == 409} <= {
        "request-in-flight"
    }
    assert 201 in statuses
    assert world.actions() == ["prefix.create"]
    assert create_prefix(world, headers=headers).status_code == 201


# The scope of a key


def test_a_key_is_for_one_request_only(world):
    headers = keyed()
    assert create_prefix(world, headers=headers).status_code == 201
    other_body = create_prefix(world, name="other", headers=headers)
    other_path = world.call(
        "POST", "/v1/base-models", by="publisher", json=a_base_model(), headers=headers
    )
    for response in (other_body, other_path):
        assert (response.status_code, code(response)) == (422, "idempotency-key-reused")


def test_a_key_belongs_to_its_principal(world):
    headers = keyed()
    assert create_prefix(world, headers=headers).status_code == 201
    _, other = world.a_principal(None, ("publisher", world.namespace))
    assert code(create_prefix(world, by=other, headers=headers)) == "already-exists"


def test_a_key_in_flight_is_refused_until_it_is_free(world, sessions):
    """The first request holds the key until it commits or its process ends."""
    key = str(uuid.uuid4())
    _, token = world.a_principal(None, ("publisher", world.namespace))
    with sessions.begin() as session:
        assert claim_key(session, principal_of(session, token), key)
        refused = create_prefix(world, by=token, headers=keyed(key))
    assert (refused.status_code, code(refused)) == (409, "request-in-flight")
    assert refused.headers["retry-after"] == "1"
    assert create_prefix(world, by=token, headers=keyed(key)).status_code == 201


def principal_of(session, token):
    return session.scalars(
        select(ApiToken.principal_id).where(ApiToken.hash == token_hash(token))
    ).one()


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param('""', id="empty-string"),
        pytest.param("k" * 256, id="long"),
        pytest.param("two words", id="bare-space"),
        pytest.param("schl\xfcssel", id="not-ascii"),
        pytest.param("a\tb", id="control"),
    ],
)
def test_a_key_must_be_printable_and_short(world, key):
    headers = {"Idempotency-Key": key.encode("latin-1")}
    response = create_prefix(world, headers=headers)
    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert world.call("GET", world.path, by="publisher").status_code == 404


def test_a_key_may_be_a_quoted_string_as_in_the_draft(world):
    first = create_prefix(world, headers=keyed('"a key"'))
    assert (first.status_code, same(first, create_prefix(world, headers=keyed('"a key"')))) == (
        201,
        True,
    )


def test_only_a_post_needs_a_key(world):
    world.a_prefix()
    response = world.call("GET", world.path, by="publisher", headers={"Idempotency-Key": ""})
    assert response.status_code == 200


# Refusals and failures


def test_a_refusal_without_changes_is_not_stored(world):
    """After the cause is fixed, the same request can be sent again."""
    headers = keyed()
    document = a_base_model()
    name, token = world.a_principal()
    send = {"by": token, "json": document, "headers": headers}
    assert world.call("POST", "/v1/base-models", **send).status_code == 403
    grants = {"principal": name, "grants": [{"role": "publisher", "namespace": "*"}]}
    world.made("PUT", "/v1/grants", by="admin", json=grants)
    assert world.call("POST", "/v1/base-models", **send).status_code == 201


def test_a_refusal_with_an_audit_entry_is_replayed(world):
    """The gate's refusal has an audit entry, and a retry must not add another."""
    version = world.a_version()
    world.a_channel()
    headers = keyed()
    body = {"channel": "production", "version": version["number"], "reason": "it is better"}
    first, again = (
        world.call("POST", f"{world.path}/promotions", by="publisher", json=body, headers=headers)
        for _ in range(2)
    )
    assert (first.status_code, code(first), same(first, again)) == (409, "gate-not-passed", True)
    assert world.actions().count("promotion.refuse") == 1


class BrokenStaging:
    """A store that fails once the upload is registered."""

    def presigned_put(self, key, *, sha256, size_bytes, lifetime_s):
        raise RuntimeError("no signature today")


def test_a_server_error_is_never_stored_and_changes_nothing(world, world_on, sessions):
    world.a_prefix()
    broken = world_on(staging=BrokenStaging())
    headers = keyed()
    sha256 = f"sha256:{uuid.uuid4().hex * 2}"
    body = {"sha256": sha256, "size_bytes": 5}
    send = {"by": "publisher", "json": body, "headers": headers}

    assert broken.call("POST", f"{world.path}/uploads", **send).status_code == 500
    assert world.call("POST", f"{world.path}/uploads", **send).status_code == 201

    with sessions() as session:
        count = select(func.count()).select_from(Upload).where(Upload.sha256 == sha256)
        assert session.scalar(count) == 1


class FullBlobs(MemoryBlobs):
    """A store that fails before a push has changed anything."""

    def put(self, content, *, digest, size_bytes):
        raise RuntimeError("no room today")


def test_a_failure_before_any_change_leaves_the_key_free(world, world_on, caplog):
    world.a_base()
    world.a_prefix()
    full = world_on(blobs=FullBlobs())
    full.path, full.base = world.path, world.base
    headers = keyed()

    assert full.push(headers=headers).status_code == 500
    assert "failed: RuntimeError at " in caplog.text  # and no second failure followed
    assert world.push(headers=headers).status_code == 201


# Secrets


def test_a_token_is_never_stored_and_never_issued_twice(world, sessions):
    name, _ = world.a_principal()
    headers = keyed()
    first = world.call("POST", "/v1/tokens", by="admin", json={"principal": name}, headers=headers)
    again = world.call("POST", "/v1/tokens", by="admin", json={"principal": name}, headers=headers)

    assert first.status_code == 201
    made = f"/v1/tokens/{first.json()['id']}"
    assert (again.status_code, code(again)) == (409, "answer-not-kept")
    assert again.json()["made"] == first.headers["location"] == made
    assert first.json()["token"] not in again.text
    with sessions() as session:
        stored = session.scalars(
            select(IdempotencyRecord).where(IdempotencyRecord.key == headers_key(headers))
        )
        assert [row.body for row in stored] == [None]
    assert world.call("DELETE", made, by="admin").status_code == 204


def headers_key(headers):
    return headers["Idempotency-Key"]


# Retention


def test_a_key_is_free_again_after_a_day(world, time):
    headers = keyed()
    assert create_prefix(world, headers=headers).status_code == 201
    time.ahead = STORED_FOR - timedelta(minutes=1)
    assert create_prefix(world, headers=headers).status_code == 201
    time.ahead = STORED_FOR + timedelta(minutes=1)
    assert code(create_prefix(world, headers=headers)) == "already-exists"
    assert create_prefix(world, name="other", headers=headers).status_code == 201


def test_garbage_collection_deletes_expired_records(world, sessions, blobs, s3_account, time):
    headers = keyed()
    assert create_prefix(world, headers=headers).status_code == 201

    def stored_after_collection(ahead):
        time.ahead = ahead
        staging = S3Staging(s3_account)
        collect(sessions, blobs, staging, grace=timedelta(days=9), dry_run=False)
        with sessions() as session:
            key = IdempotencyRecord.key == headers_key(headers)
            return session.scalar(select(func.count()).select_from(IdempotencyRecord).where(key))

    assert stored_after_collection(timedelta(0)) == 1
    assert stored_after_collection(STORED_FOR) == 0


# Crashes


@pytest.fixture
def dying(stores, tokens):
    """The URL of a server on the same stores that dies on demand."""
    command = [sys.executable, "-m", "tests.support.dying"]
    environment = os.environ | stores.environment
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        yield process.stdout.readline().decode().strip()
        os.killpg(process.pid, signal.SIGKILL)


def test_a_crash_between_commit_and_response_loses_neither(world, dying, tokens):
    """A crash before the commit changes nothing: change and response are committed together."""

    def create(name, **headers):
        body = {"namespace": world.namespace, "name": name, "owner": "admin"}
        headers |= {"Authorization": f"Bearer {tokens['publisher']}"}
        return httpx2.post(f"{dying}/v1/prefixes", json=body, headers=headers, timeout=30)

    for name, moment, is_there in (("a", "before-commit", 404), ("b", "after-commit", 200)):
        key = keyed()
        with pytest.raises(httpx2.TransportError):
            create(name, **key, **{"X-Die": moment})
        path = f"/v1/prefixes/{world.namespace}/{name}"
        assert world.call("GET", path, by="publisher").status_code == is_there

        retried = create(name, **key)
        assert retried.status_code == 201, retried.text
        assert retried.headers["location"] == path
        assert (retried.headers.get("idempotent-replayed") == "true") is (is_there == 200)
        assert len(world.audit(f"prefix:{world.namespace}/{name}")) == 1


# Several changes


def test_a_request_with_several_changes_is_one(world, sessions):
    world.a_prefix()
    objects = [{"oid": f"{number:064x}", "size": 5} for number in (1, 2)]
    body = {"operation": "upload", "objects": objects}
    arguments = {"by": "publisher", "json": body, "headers": keyed()}
    path = f"/{world.prefix}.git/info/lfs/objects/batch"

    first = world.call("POST", path, **arguments)
    again = world.call("POST", path, **arguments)

    assert len(first.json()["objects"]) == 2
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"


# Caches


@pytest.mark.parametrize(
    ("by", "path", "body", "waits"),
    [
        ("approver-1", "versions/1/revoke", {}, 1),
        ("publisher", "promotions", {"channel": "production", "version": 1}, 0),
    ],
    ids=["a-revocation", "a-request"],
)
def test_only_a_change_of_cached_responses_waits_for_other_processes(
    world, monkeypatch, by, path, body, waits
):
    world.an_evaluated_version()
    waited = []
    monkeypatch.setattr(idempotency, "wait_until_invalidated", waited.append)
    body = body | {"reason": "it is needed now"}
    response = world.call("POST", f"{world.path}/{path}", by=by, json=body, headers=keyed())
    assert response.is_success, response.text
    assert len(waited) == waits
