"""The staging area on a real S3 server."""

import hashlib
import uuid
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest

from app.storage import s3_staging
from app.storage.s3_staging import S3Staging

CHECKSUM = "x-amz-checksum-sha256"
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


def request_for(staging, key, content, **changes):
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    size = len(content)
    return staging.presigned_put(key, sha256=digest, size_bytes=size, lifetime_s=60, **changes)


def send(request, content):
    return httpx2.request(request.method, request.url, headers=request.headers, content=content)


def test_the_bytes_of_a_presigned_request_can_be_read(staging, key):
    content = b"some bytes"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    request = staging.presigned_put(key, sha256=digest, size_bytes=len(content), lifetime_s=60)

    assert send(request, content).is_success
    assert content_at(staging, key) == content


def test_a_url_that_carries_the_digest_needs_no_headers(staging, key):
    request = request_for(staging, key, b"some bytes", in_url=True)
    assert request.headers == {"Content-Length": "10"}
    assert httpx2.put(request.url, content=b"some bytes").is_success
    assert content_at(staging, key) == b"some bytes"


@pytest.mark.parametrize("content", [b"other byte", b"some bytes and more", b""])
def test_a_url_that_carries_the_digest_takes_no_other_bytes(staging, key, content):
    request = request_for(staging, key, b"some bytes", in_url=True)
    assert not httpx2.put(request.url, content=content).is_success
    assert content_at(staging, key) is None


def test_the_digest_in_a_url_is_signed(staging, key):
    request = request_for(staging, key, b"some bytes", in_url=True)
    other = request_for(staging, key, b"other byte", in_url=True)
    digests = [parse_qs(urlsplit(each.url).query)[CHECKSUM][0] for each in (request, other)]
    forged = request.url.replace(*(quote(digest, safe="") for digest in digests))
    assert forged != request.url
    assert httpx2.put(forged, content=b"other byte").status_code == 403


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
    send(request_for(staging, key, b"any"), b"any")
    upload = staging.begin(key)
    staging.discard(key, upload)
    staging.discard(key, upload)
    staging.discard(key, None)
    assert content_at(staging, key) is None
