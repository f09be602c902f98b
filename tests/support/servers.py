"""The real servers and their clients: each test process has a database and a bucket."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Client
from pathlib import Path

import boto3  # noqa: TID251 - a client beside the one under test
import pytest
from botocore.config import Config
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from app.local.mode import Stores
from app.local.postgres import SERVICE_ROLE, PostgresServer
from app.storage.blobs import key_of
from tests.support.observing import eventually
from tests.support.session.offering import ADDRESS, ASK, enterable_folder

TEMPLATE = "prepared"


@dataclass(frozen=True)
class SharedStores:
    """The servers that all test processes share, and the tokens of the template's principals."""

    stores: Stores
    folder: Path
    tokens: Mapping[str, str]


def shared_stores(prepare: Callable[[Stores], Mapping[str, str]]) -> SharedStores:
    """Return the servers that are offered to this process, with a prepared template database.

    The first process that asks calls `prepare`, which fills the template and returns the tokens.
    If that fails, the next process prepares the template again.
    """
    with Client(os.environ[ADDRESS]) as connection:
        connection.send(ASK)
        answer = connection.recv()
        if isinstance(answer, Exception):
            raise answer
        stores, folder, tokens = answer
        if tokens is None:
            tokens = prepare(_an_empty_template(stores))
            with _administered(stores.postgres) as administered:
                _wait_for_backends(administered, TEMPLATE)
            connection.send(tokens)
        return SharedStores(stores, folder, tokens)


def _an_empty_template(stores: Stores) -> Stores:
    with _administered(stores.postgres) as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)"))
        _create_database(connection, TEMPLATE)
    # No data outlives the tests, so commits need not wait for the disk.
    service = create_engine(stores.postgres.service_url)
    with service.begin() as connection:
        connection.execute(text("ALTER ROLE CURRENT_USER SET synchronous_commit = off"))
    service.dispose()
    return _on_database(stores, TEMPLATE)


@contextmanager
def copied(shared: SharedStores) -> Iterator[Stores]:
    """Make a copy of the template database and an empty bucket; drop both at the end."""
    name = f"copy-{uuid.uuid4().hex}"
    bucket = replace(shared.stores.s3, bucket=name)
    with _administered(shared.stores.postgres) as connection:
        _create_database(connection, name, template=TEMPLATE)
        probe_bucket(bucket)
        try:
            yield replace(_on_database(shared.stores, name), s3=bucket)
        finally:
            with closing(s3_client(bucket)) as client:
                client.delete_bucket(Bucket=name)
            _drop_database(connection, name)


@contextmanager
def _administered(postgres: PostgresServer) -> Iterator[Connection]:
    """Connect as the owner of the databases."""
    engine = create_engine(postgres.owner_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _create_database(connection: Connection, name: str, *, template: str = "template1") -> None:
    # A copy has the privileges on the template's tables, but not those on the database.
    for statement in (
        f'CREATE DATABASE "{name}" TEMPLATE {template}',
        f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{name}" TO {SERVICE_ROLE}',
    ):
        connection.execute(text(statement))


def _drop_database(connection: Connection, name: str) -> None:
    _wait_for_backends(connection, name)
    connection.execute(text(f'DROP DATABASE "{name}"'))


def _wait_for_backends(connection: Connection, name: str) -> None:
    """Wait until nothing uses a database, so that it can be copied or dropped.

    Backends outlive their clients' connections a little, and the owner of a database may not
    terminate those of another role.
    """
    backends = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
    eventually(lambda: connection.scalar(backends, {"name": name}) == 0, within_s=30)


def _on_database(stores: Stores, name: str) -> Stores:
    owner, service = (
        make_url(url).set(database=name).render_as_string(hide_password=False)
        for url in (stores.postgres.owner_url, stores.postgres.service_url)
    )
    return replace(stores, postgres=replace(stores.postgres, owner_url=owner, service_url=service))


@pytest.fixture(scope="session")
def stores(shared):
    """A copy of the template database and a bucket, for this process alone."""
    with copied(shared) as stores:
        yield stores


@pytest.fixture(scope="session")
def postgres_server(stores):
    return stores.postgres


@pytest.fixture(scope="session")
def s3_server(stores):
    return stores.s3


@pytest.fixture(scope="session")
def server_folder():
    """A folder for servers that tests start and stop themselves."""
    with enterable_folder() as folder:
        yield folder


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


@pytest.fixture(scope="session")
def s3(s3_server):
    """A client with the rights of the registry; making one takes as long as several requests."""
    with closing(s3_client(s3_server)) as client:
        yield client


@pytest.fixture
def tamper(s3, s3_server):
    """Return a function that replaces or deletes an object until the test ends."""
    with ExitStack() as stack:

        def tamper(digest, content):
            where = {"Bucket": s3_server.bucket, "Key": key_of(digest)}
            original = s3.get_object(**where)["Body"].read()
            stack.callback(s3.put_object, **where, Body=original)
            if content is None:
                s3.delete_object(**where)
            else:
                s3.put_object(**where, Body=content)

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
    with _administered(postgres_server) as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        url = make_url(postgres_server.owner_url).set(database=name)
        yield url.render_as_string(hide_password=False)
        _drop_database(connection, name)
