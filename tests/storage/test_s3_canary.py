"""The canary names what a store lacks, once per process."""

import hashlib
from io import BytesIO

import pytest

from app.domain.errors import UnavailableError
from app.storage.s3 import S3Blobs
from tests.support import store_proxy as faults

CANARY = "/canary$"


@pytest.fixture
def blobs(proxied_account):
    return S3Blobs(proxied_account)


def put(blobs, content=b"canary test"):
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blobs.put(BytesIO(content), digest=digest, size_bytes=len(content))


def without_condition(_proxy, request):
    return faults.Response(200) if request.condition else request.forward()


def without_checksum(_proxy, request):
    found = request.forward()
    return faults.Response(200) if found.status == 400 else found


def without_support(_proxy, request):
    return faults.Response(501) if request.condition else request.forward()


def test_a_suitable_store_is_asked_once(store_proxy, blobs):
    blobs.check()
    asked = len(store_proxy.seen("PUT", CANARY))
    put(blobs)
    blobs.check()
    assert len(store_proxy.seen("PUT", CANARY)) == asked == 3


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (without_condition, "If-None-Match"),
        (without_support, "If-None-Match"),
        (without_checksum, "x-amz-checksum-sha256"),
    ],
)
def test_what_a_store_lacks_is_named_and_nothing_is_put(store_proxy, blobs, caplog, fault, named):
    store_proxy.set(fault, "PUT")
    with pytest.raises(UnavailableError, match=named) as refused:
        blobs.check()
    assert refused.value.members["lacking"]
    assert named in caplog.text
    for _ in range(2):
        with pytest.raises(UnavailableError, match=named):
            put(blobs)
    assert store_proxy.seen("PUT", "/blobs/") == []
    assert len(store_proxy.seen("PUT", CANARY)) == 3


def test_a_put_asks_if_nothing_else_has(store_proxy, blobs):
    store_proxy.set(without_condition, "PUT")
    with pytest.raises(UnavailableError, match="If-None-Match"):
        put(blobs)


def test_a_store_that_was_replaced_is_found_suitable(store_proxy, blobs):
    with store_proxy.fault(without_condition, "PUT"), pytest.raises(UnavailableError):
        blobs.check()
    blobs.check()
    put(blobs)


@pytest.mark.parametrize("fault", [faults.status(503), faults.status(403), faults.refuse])
def test_a_store_that_is_away_says_nothing_about_itself(store_proxy, blobs, fault):
    with store_proxy.fault(fault, "PUT"), pytest.raises(UnavailableError) as refused:
        blobs.check()
    assert "lacking" not in refused.value.members
    blobs.check()
