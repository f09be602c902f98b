"""Blobs on a store that lies, truncates, hangs or fails: the real one behind a proxy."""

import hashlib
import uuid
from contextlib import suppress
from io import BytesIO

import pytest

from app.domain.errors import DamagedObjectError, UnavailableError
from app.storage import s3_deadlines
from app.storage.blobs import Replaced, key_of, read_whole
from app.storage.s3 import S3Blobs
from app.storage.s3_staging import S3Staging
from tests.support import store_proxy as faults

CONTENT = b"some bytes of a file"


@pytest.fixture
def impatient(monkeypatch):
    """Return a function that shortens the deadline of the calls that must fail."""
    return lambda: monkeypatch.setattr(s3_deadlines, "CALL_S", 0.5)


@pytest.fixture
def blobs(proxied_account):
    return S3Blobs(proxied_account)


@pytest.fixture
def content():
    return CONTENT + uuid.uuid4().bytes


@pytest.fixture
def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def put(blobs, content, digest):
    def put(**changes):
        return blobs.put(BytesIO(content), digest=digest, size_bytes=len(content), **changes)

    return put


@pytest.fixture
def overwrite(s3, s3_server, digest):
    """Replace the object by other bytes, not through the proxy; None removes it."""

    def overwrite(data):
        where = {"Bucket": s3_server.bucket, "Key": key_of(digest)}
        if data is None:
            s3.delete_object(**where)
        else:
            s3.put_object(**where, Body=data)

    return overwrite


BLOBS = "/blobs/"


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        pytest.param("PUT", faults.forget, id="forgotten"),
        pytest.param("PUT", faults.status(200), id="forgotten-without-a-checksum"),
        pytest.param("PUT", faults.claim_or_forget, id="exists-and-does-not"),
        pytest.param(
            "PUT", faults.altered(x_amz_checksum_sha256=faults.WRONG_CHECKSUM), id="other-checksum"
        ),
        pytest.param(
            "HEAD", faults.altered(x_amz_checksum_sha256=faults.WRONG_CHECKSUM), id="other-object"
        ),
        pytest.param("HEAD", faults.status(404), id="vanished"),
        pytest.param("PUT", faults.status(503), id="unavailable"),
        pytest.param("PUT", faults.status(500), id="broken"),
        pytest.param("PUT", faults.status(307, Location="http://127.0.0.1:1/"), id="temporary"),
        pytest.param("PUT", faults.status(301), id="moved-somewhere"),
        pytest.param("PUT", faults.status(302, Location="nonsense://"), id="found"),
        pytest.param("PUT", faults.status(308, Location="/elsewhere"), id="permanent"),
        pytest.param(
            "PUT", faults.status(301, x_amz_bucket_region="not a region"), id="moved-to-nonsense"
        ),
        pytest.param("PUT", faults.answer(418, b"<html>no XML"), id="no-document"),
        pytest.param("PUT", faults.refuse, id="no-response"),
    ],
)
def test_a_store_that_did_not_store_is_unavailable(store_proxy, blobs, put, method, fault):
    blobs.check()
    store_proxy.set(fault, method, BLOBS)
    with pytest.raises(UnavailableError):
        put()


@pytest.mark.parametrize("change", [None, b"other", CONTENT[::-1] + bytes(16)])
def test_an_object_that_exists_but_is_wrong_is_replaced(
    store_proxy, blobs, put, overwrite, digest, change
):
    assert put() is None
    overwrite(change)
    fault = Replaced.MISSING if change is None else Replaced.DIFFERENT
    with store_proxy.fault(faults.claim_to_have, "PUT", BLOBS):
        assert put() is fault
    read_whole(blobs, digest)


def test_an_object_that_is_right_is_sent_once(store_proxy, put):
    assert put() is None
    assert put() is None
    assert len(store_proxy.seen("PUT", BLOBS)) == 2  # the second is refused before its bytes
    assert {r.condition for r in store_proxy.seen("PUT", BLOBS)} == {"*"}


@pytest.mark.parametrize("checksum", [None, "AAAA-3"], ids=["none", "of-parts"])
def test_an_object_whose_checksum_is_unknown_is_read(
    store_proxy, put, overwrite, content, checksum
):
    store_proxy.set(faults.altered(x_amz_checksum_sha256=checksum), "HEAD")
    assert put() is None
    assert put() is None
    overwrite(bytes(len(content)))
    assert put() is Replaced.DIFFERENT
    assert put() is None


def test_an_object_known_to_be_damaged_is_replaced_in_any_case(store_proxy, put):
    put()
    assert put(overwrite=True) is Replaced.DAMAGED
    assert store_proxy.seen("PUT", BLOBS)[-1].condition is None


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.truncate(5), id="truncated"),
        pytest.param(faults.status(503), id="unavailable"),
        pytest.param(faults.status(307, Location="http://127.0.0.1:1/"), id="redirected"),
        pytest.param(faults.status(301), id="moved"),
        pytest.param(faults.refuse, id="no-response"),
        pytest.param(faults.hang, id="hanging"),
        pytest.param(faults.drip(0.2), id="slow"),
        pytest.param(faults.drip(0.2, in_head=True), id="slow-head"),
    ],
)
def test_a_read_that_fails_is_no_damage(store_proxy, blobs, put, digest, impatient, fault):
    put()
    impatient()
    store_proxy.set(fault, "GET", BLOBS)
    with pytest.raises(UnavailableError):
        read_whole(blobs, digest)


@pytest.mark.parametrize("fault", [faults.hang, faults.drip(0.2, in_head=True)])
def test_a_call_ends_with_its_deadline(store_proxy, blobs, put, digest, impatient, fault):
    put()
    impatient()
    store_proxy.set(fault)
    for call in (
        put,
        blobs.check,
        lambda: blobs.delete(digest),
        lambda: list(blobs.stored()),
    ):
        with pytest.raises(UnavailableError):
            call()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("headers", [{}, {"Location": "/x"}, {"x_amz_bucket_region": "eu-west-1"}])
def test_a_redirect_of_every_request_is_an_unavailable_store(
    store_proxy, blobs, put, digest, status, headers
):
    put()
    store_proxy.set(faults.status(status, **headers))
    before = len(store_proxy.requests)
    calls = (
        put,
        blobs.check,
        lambda: read_whole(blobs, digest),
        lambda: blobs.delete(digest),
        lambda: list(blobs.stored()),
    )
    for call in calls:
        with pytest.raises(UnavailableError):
            call()
    assert len(store_proxy.requests) == before + len(calls)


def test_a_reader_may_be_slower_than_the_deadline(blobs, put, digest, monkeypatch):
    monkeypatch.setattr("app.storage.s3_client.CHUNK_BYTES", 8)
    put()
    monkeypatch.setattr(s3_deadlines, "CALL_S", 2)
    with blobs.open(digest) as chunks:
        next(chunks)
        s3_deadlines._watchdog._thread.join(2.5)  # longer than the deadline
        assert b"".join(chunks)


def test_after_a_bad_read_another_connection_is_used(store_proxy, blobs, put, digest):
    put()
    with store_proxy.fault(faults.once(faults.flip), "GET", BLOBS):
        with pytest.raises(DamagedObjectError):
            read_whole(blobs, digest)
        before = store_proxy.connections
        read_whole(blobs, digest)
        assert store_proxy.connections == before + 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.answer(200, b""),
        faults.answer(200, b"<html>sign in</html>"),
        faults.answer(200, b"no XML"),
        faults.altered(Last_Modified="yesterday"),
        faults.altered(Content_Type=None, ETag=None, Last_Modified=None),
    ],
)
def test_a_response_in_another_form_is_an_unavailable_store(
    store_proxy, blobs, put, digest, proxied_account, fault
):
    """Or it is harmless; it is never a failure of the registry."""
    put()
    staging = S3Staging(proxied_account)
    store_proxy.set(fault)
    calls = (
        put,
        lambda: put(overwrite=True),
        lambda: read_whole(blobs, digest),
        lambda: list(blobs.stored()),
        lambda: staging.finish("uploads/x", staging.begin("uploads/x")),
        lambda: list(staging.leftovers("uploads/")),
    )
    for call in calls:
        with suppress(UnavailableError, DamagedObjectError):
            call()
