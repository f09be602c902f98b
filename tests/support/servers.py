"""The real servers, started once per session (per worker under xdist), and their clients."""

import shutil
import tempfile
import uuid
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import boto3  # noqa: TID251 - a client beside the one under test
import pytest
from botocore.config import Config
from sqlalchemy import create_engine, make_url, text

from app.local.mode import running_stores
from app.storage.blobs import key_of


@pytest.fixture(scope="session")
def stores(server_folder):
    with running_stores(server_folder) as stores:
        # No data outlives the tests, so commits need not wait for the disk.
        engine = create_engine(stores.postgres.service_url)
        with engine.begin() as connection:
            connection.execute(text("ALTER ROLE CURRENT_USER SET synchronous_commit = off"))
        engine.dispose()
        yield stores


@pytest.fixture(scope="session")
def postgres_server(stores):
    return stores.postgres


@pytest.fixture(scope="session")
def s3_server(stores):
    return stores.s3


@pytest.fixture(scope="session")
def server_folder():
    """A folder that the unprivileged database user can enter, unlike pytest's temporary folders."""
    folder = Path(tempfile.mkdtemp(prefix="prefix-registry-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def s3_client(endpoint, **credentials):
    """Return a client without retries and with short timeouts; the caller closes it."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint.endpoint_url,
        region_name="us-east-1",
        config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
        aws_access_key_id=credentials.get("access_key", endpoint.access_key),
        aws_secret_access_key=credentials.get("secret_key", endpoint.secret_key),
    )


def probe_bucket(endpoint):
    """Create the bucket, write a non-empty object and delete it, or raise."""
    with closing(s3_client(endpoint)) as client:
        # A request during the server's start may never get a response.
        client.meta.config.read_timeout = 1
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=endpoint.bucket)
        client.put_object(Bucket=endpoint.bucket, Key="probe", Body=b"bytes")
        client.delete_object(Bucket=endpoint.bucket, Key="probe")


@pytest.fixture
def tamper(s3_server):
    """Return a function that replaces or deletes an object until the test ends."""
    with closing(s3_client(s3_server)) as client, ExitStack() as stack:

        def tamper(digest, content):
            where = {"Bucket": s3_server.bucket, "Key": key_of(digest)}
            original = client.get_object(**where)["Body"].read()
            stack.callback(client.put_object, **where, Body=original)
            if content is None:
                client.delete_object(**where)
            else:
                client.put_object(**where, Body=content)

        yield tamper


@pytest.fixture
def an_empty_database(postgres_server):
    """The URL of a database without tables, as its owner."""
    with empty_database(postgres_server) as url:
        yield url


@contextmanager
def empty_database(postgres_server):
    """Create a database, yield its URL as its owner, and drop it."""
    name = f"empty_{uuid.uuid4().hex}"
    owner = make_url(postgres_server.owner_url)
    engine = create_engine(owner, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        yield owner.set(database=name).render_as_string(hide_password=False)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()
