"""Direct uploads: bytes go to the store by presigned requests, and a push then reads them."""

import hashlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx2
import pytest

from app.db.session import engine_for, sessions_on
from app.domain.errors import NotFoundError, UploadIncompleteError
from app.domain.naming import PrefixName
from app.services.artifacts import uploads
from app.services.artifacts.uploads import LIFETIME
from app.services.identity.authentication import authenticate
from app.services.transactions import Transactions
from app.storage.s3_staging import S3Staging
from tests.support import store_proxy as faults
from tests.support.adapters import a_config
from tests.support.builders import weights
from tests.support.observing import eventually


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def announce(world, content, *, by="publisher", **changes):
    body = {"sha256": digest_of(content), "size_bytes": len(content)} | changes
    return world.call("POST", f"{world.path}/uploads", by=by, json=body)


def send(upload, content):
    """Send the bytes with the presigned requests; return the store's responses."""
    responses = []
    for request in upload["requests"]:
        part, content = content[: request["size_bytes"]], content[request["size_bytes"] :]
        response = httpx2.request(
            request["method"], request["url"], headers=request["headers"], content=part
        )
        responses.append(response)
    return responses


def uploaded(world, content, **changes):
    upload = announce(world, content, **changes).json()
    assert all(response.is_success for response in send(upload, content))
    return upload


def push(world, config, weights_, *, by="publisher"):
    body = {
        "base_model": world.base,
        "card": {},
        "lineage": {},
        "uploads": {"config": config["id"], "weights": weights_["id"]},
    }
    return world.call("POST", f"{world.path}/versions", by=by, json=body)


@pytest.fixture
def prefix(world):
    """A prefix with one version and a base model."""
    world.a_version(seed=1)
    return world


def test_uploaded_files_become_a_version(prefix):
    config, content = uploaded(prefix, a_config()), uploaded(prefix, weights(2))

    response = push(prefix, config, content)

    assert response.status_code == 201, response.text
    assert [file["sha256"] for file in response.json()["files"]] == [
        digest_of(a_config()),
        digest_of(weights(2)),
    ]
    again = push(prefix, config, content)
    assert (again.status_code, again.json()["number"]) == (200, 2)


def test_an_upload_larger_than_a_part_is_pushed_from_its_parts(prefix, monkeypatch):
    size = len(weights()) - 8
    monkeypatch.setattr("app.services.artifacts.uploads.PART_BYTES", size)
    upload = announce(prefix, weights(2)).json()
    # The store's own part size is unchanged, so there is one part; only the protocol differs.
    assert "partNumber=1" in upload["requests"][0]["url"]
    assert all(response.is_success for response in send(upload, weights(2)))

    assert push(prefix, uploaded(prefix, a_config()), upload).status_code == 201


def test_the_store_refuses_other_bytes_than_announced(prefix):
    upload = announce(prefix, weights(2)).json()
    (response,) = send(upload, weights(3))
    assert response.status_code == 400


def test_a_push_of_an_empty_upload_is_refused(prefix):
    config, content = uploaded(prefix, a_config()), announce(prefix, weights(2)).json()

    response = push(prefix, config, content)

    assert (response.status_code, response.json()["type"]) == (409, "/problems/upload-incomplete")
    assert prefix.actions() == ["prefix.create", "version.push"]


def test_a_publisher_cannot_push_the_upload_of_another(prefix):
    """Knowing a digest does not prove possession of the bytes."""
    _, other = prefix.a_principal(None, ("publisher", prefix.namespace))
    config, content = uploaded(prefix, a_config()), uploaded(prefix, weights(2))
    assert push(prefix, config, content, by=other).status_code == 404


def test_an_upload_expires(prefix, time):
    config, content = uploaded(prefix, a_config()), uploaded(prefix, weights(2))
    time.ahead = LIFETIME + timedelta(seconds=1)
    assert push(prefix, config, content).status_code == 404


def test_only_publishers_upload(prefix):
    assert announce(prefix, b"x", by="evaluator").status_code == 403
    assert announce(prefix, b"x", by="reader").status_code == 404


def test_an_upload_above_the_limit_of_a_push_is_refused_at_once(prefix):
    response = announce(prefix, b"x", size_bytes=1 << 40)
    assert (response.status_code, response.json()["type"]) == (413, "/problems/too-large")


def test_a_push_that_names_no_uploads_is_invalid(prefix):
    body = json.dumps({"base_model": prefix.base})
    response = prefix.call(
        "POST",
        f"{prefix.path}/versions",
        by="publisher",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422
    assert "uploads" in response.json()["detail"]


@pytest.fixture
def staging(s3_account):
    return S3Staging(s3_account)


@pytest.fixture
def announced(sessions, tokens, prefix):
    """Find an upload by its digest alone, as the Hub's push does."""

    def announced(sha256, *, by="publisher"):
        caller = authenticate(sessions, token=tokens[by]).caller
        name = PrefixName(prefix.namespace, "voice")
        return uploads.announced(Transactions(sessions, caller), prefix=name, sha256=sha256)

    return announced


def test_at_its_very_expiry_an_upload_is_no_longer_found(prefix, announced, time):
    content = a_config(peft_version=uuid.uuid4().hex)
    announce(prefix, content)
    expiry = announced(digest_of(content)).expires_at
    time.stop_at(expiry - timedelta(microseconds=1))
    assert announced(digest_of(content))
    time.stop_at(expiry)
    with pytest.raises(NotFoundError, match="upload"):
        announced(digest_of(content))


def test_the_latest_upload_of_a_digest_is_found(prefix, announced):
    content = a_config(peft_version=uuid.uuid4().hex)
    announce(prefix, content)
    latest = announce(prefix, content).json()
    assert str(announced(latest["sha256"]).id) == latest["id"]


def test_an_unannounced_digest_is_not_found(announced):
    with pytest.raises(NotFoundError):
        announced(digest_of(uuid.uuid4().bytes))


def test_an_upload_larger_than_announced_is_not_read_to_its_end(
    prefix, announced, staging, s3, s3_server
):
    content = a_config(peft_version=uuid.uuid4().hex)
    upload = announced(announce(prefix, content).json()["sha256"])
    # Not by a presigned request, which the store would refuse.
    s3.put_object(Bucket=s3_server.bucket, Key=upload.key, Body=content + b" " * (3 << 20))
    with pytest.raises(UploadIncompleteError), uploads.received(staging, upload):
        pass


@pytest.fixture
def small_parts(monkeypatch):
    """Files above a few bytes are uploaded in parts."""
    monkeypatch.setattr("app.services.artifacts.uploads.PART_BYTES", 8)


@pytest.fixture
def few_sessions(stores):
    """Sessions on a pool of at most four connections."""
    engine = engine_for(stores.postgres.service_url, pool_size=2)
    yield sessions_on(engine)
    engine.dispose()


@pytest.mark.usefixtures("small_parts")
def test_announcements_at_a_store_that_hangs_hold_no_connection(
    world_on, store_proxy, proxied_account, few_sessions
):
    world = world_on(sessions=few_sessions, staging=S3Staging(proxied_account))
    world.a_version()

    def announce_one(_):
        return announce(world, uuid.uuid4().bytes).status_code

    with store_proxy.fault(faults.hang), ThreadPoolExecutor(25) as clients:
        announced = clients.map(announce_one, range(25))
        # More than there are connections; the store gets no more of them at once.
        eventually(lambda: len(store_proxy.seen("POST", "uploads")) >= 16, within_s=30)
        for _ in range(5):
            assert world.call("GET", world.path, by="publisher").status_code == 200
        store_proxy.clear()
        assert set(announced) <= {201, 503}


class NotedStaging:
    """A staging area that calls a function once it has begun an upload."""

    def __init__(self, staging, after):
        self.staging = staging
        self.after = after
        self.begun = []

    def __getattr__(self, name):
        return getattr(self.staging, name)

    def begin(self, key):
        self.begun.append((key, self.staging.begin(key)))
        self.after()
        return self.begun[-1][1]


@pytest.mark.usefixtures("small_parts")
def test_an_announcement_that_is_refused_leaves_no_upload_in_the_store(world_on, staging):
    noted = NotedStaging(staging, lambda: None)
    world = world_on(staging=noted)
    world.a_version()
    name, token = world.a_principal(None, ("publisher", world.namespace))
    noted.after = lambda: world.call("DELETE", f"/v1/principals/{name}", by="admin")

    assert announce(world, uuid.uuid4().bytes, by=token).status_code == 401

    assert noted.begun
    left = {(each.key, each.multipart_id) for each in staging.leftovers("uploads/")}
    assert left.isdisjoint(noted.begun)


def test_a_small_announcement_that_is_refused_calls_no_store(world_on, staging, monkeypatch):
    noted = NotedStaging(staging, lambda: None)
    world = world_on(staging=noted)
    world.a_version()
    name, token = world.a_principal(None, ("publisher", world.namespace))

    def end_and_make():
        world.call("DELETE", f"/v1/principals/{name}", by="admin")
        return uuid.uuid4()

    monkeypatch.setattr(uploads, "uuid4", end_and_make)
    assert announce(world, uuid.uuid4().bytes, by=token).status_code == 401
    assert noted.begun == []


@pytest.mark.usefixtures("small_parts")
def test_callers_who_may_not_upload_begin_nothing_in_the_store(world_on, staging):
    noted = NotedStaging(staging, lambda: None)
    world = world_on(staging=noted)
    world.a_version()
    assert announce(world, uuid.uuid4().bytes, by="evaluator").status_code == 403
    assert noted.begun == []
