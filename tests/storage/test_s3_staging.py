"""The staging area on a real S3 server."""

import hashlib
import uuid

import httpx2
import pytest

from app.storage import s3_staging
from app.storage.s3_staging import S3Staging

PART = 5 << 20  # the smallest size that S3 allows for all parts but the last


@pytest.fixture
def staging(s3_account):
    return S3Staging(s3_account)


@pytest.fixture
def key():
    return f"uploads/{uuid.uuid4()}"


def content_at(staging, key):
    with staging.open(key) as chunks:
        return None if chunks is None else b"".join(chunks)


def send(request, content):
    return httpx2.request(request.method, request.url, headers=request.headers, content=content)


def test_the_bytes_of_a_presigned_request_can_be_read(staging, key):
    content = b"some bytes"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    request = staging.presigned_put(key, sha256=digest, size_bytes=len(content), lifetime_s=60)

    assert send(request, content).is_success
    assert content_at(staging, key) == content


def test_a_request_without_a_digest_takes_any_bytes(staging, key):
    request = staging.presigned_put(key, sha256=None, size_bytes=3, lifetime_s=60)
    assert request.headers == {}
    assert send(request, b"any").is_success


@pytest.mark.parametrize("content", [b"other byte", b"some bytes and more"])
def test_the_store_refuses_other_bytes(staging, key, content):
    digest = f"sha256:{hashlib.sha256(b'some bytes').hexdigest()}"
    request = staging.presigned_put(key, sha256=digest, size_bytes=10, lifetime_s=60)
    response = httpx2.put(
        request.url,
        headers=request.headers | {"Content-Length": str(len(content))},
        content=content,
    )
    assert not response.is_success
    assert content_at(staging, key) is None


def test_parts_are_assembled_and_finishing_twice_changes_nothing(staging, key, monkeypatch):
    monkeypatch.setattr(s3_staging, "PART_BYTES", PART)
    content = bytes(range(256)) * (PART // 256) + b"the rest"
    upload = staging.begin(key)
    requests = staging.presigned_parts(key, upload, size_bytes=len(content), lifetime_s=60)
    assert [request.size_bytes for request in requests] == [PART, 8]

    assert send(requests[0], content[:PART]).is_success
    assert send(requests[1], content[PART:]).is_success
    staging.finish(key, upload)
    staging.finish(key, upload)

    assert content_at(staging, key) == content


def test_finishing_without_any_part_stores_nothing(staging, key):
    staging.finish(key, staging.begin(key))
    assert content_at(staging, key) is None


def test_discarding_removes_the_upload_and_may_be_repeated(staging, key):
    request = staging.presigned_put(key, sha256=None, size_bytes=3, lifetime_s=60)
    send(request, b"any")
    upload = staging.begin(key)
    staging.discard(key, upload)
    staging.discard(key, upload)
    staging.discard(key, None)
    assert content_at(staging, key) is None
