"""Fixtures for all tests: a registry on this process's stores, clients, and a world per test."""

import sys
from contextlib import ExitStack
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from sqlalchemy import create_engine, func, select

from app.cli import main
from app.db.models import (
    BaseModelRow,
    Channel,
    EvaluationRow,
    PolicyRow,
    Prefix,
    Promotion,
    SuiteRow,
)
from app.db.schema import REVISION
from app.db.session import engine_for, sessions_on
from app.domain.identity.access import SYSTEM
from app.http.deps import Parts
from app.http.limits import Limits
from app.local.mode import prepare
from app.main import app_of
from app.oidc.issuers import Issuers
from app.services.audit.replay import replay
from app.services.identity.token_usage import TokenUsage
from app.services.readiness import DatabaseState, LatestResult, Readiness, StoreState
from app.storage.s3 import S3Blobs
from app.storage.s3_client import S3Account
from app.storage.s3_staging import S3Staging
from app.storage.signing import KeySigner
from tests.support.builders import (
    SHARED_BASE_MODEL,
    SHARED_POLICY,
    SHARED_SUITE,
    World,
    register_shared_parts,
)
from tests.support.servers import shared_stores
from tests.support.session.in_process import InProcessClient
from tests.support.session.registry_time import RegistryTime
from tests.support.session.served import pages_in
from tests.support.store_proxy import running_proxy

# The duration of an example depends on the load of the machine, so there is no deadline.
settings.register_profile("unhurried", deadline=None, max_examples=50)
settings.load_profile("unhurried")

LIMITS = Limits(
    weights_bytes=1 << 20,
    config_bytes=1 << 16,
    metadata_bytes=1 << 16,
    report_bytes=1 << 20,
    samples_bytes=1 << 22,
    presigned_lifetime_s=60,
)


@pytest.fixture(scope="session")
def shared():
    """The servers that all test processes share, with a template database."""
    return shared_stores(prepared)


def prepared(stores):
    """Fill the template database; return a token for each of the initial principals."""
    tokens = prepare(stores, {})
    engine = engine_for(stores.postgres.service_url, pool_size=1)
    parts = parts_on(sessions_on(engine), account_of(stores.s3))
    with InProcessClient(app_of(parts)) as client:
        register_shared_parts(client, tokens)
    # A use that is written later would keep a connection to the template, which is then not copied.
    parts.uses._thread.shutdown()
    engine.dispose()
    return tokens


@pytest.fixture(scope="session")
def tokens(shared):
    """A token for each of the initial principals, by name."""
    return shared.tokens


@pytest.fixture(scope="session")
def engine(stores):
    """An engine with the privileges of the service's role."""
    engine = engine_for(stores.postgres.service_url)
    yield engine
    require_unchanged_shared_parts(engine)
    engine.dispose()


def require_unchanged_shared_parts(engine):
    """Fail if a test added a version or evidence to the documents that all worlds share."""
    counts = (
        select(func.count()).where(SuiteRow.name == SHARED_SUITE["name"]),
        select(func.count()).where(PolicyRow.name == SHARED_POLICY["name"]),
        select(func.count(EvaluationRow.id))
        .join(EvaluationRow.base_model)
        .where(BaseModelRow.digest == SHARED_BASE_MODEL["digest"]),
    )
    with engine.connect() as connection:
        found = [connection.scalar(count) for count in counts]
    assert found == [1, 1, 0], "a test changed a shared document; it must ask for its own"


@pytest.fixture(scope="session")
def sessions(engine):
    return sessions_on(engine)


@pytest.fixture(scope="session")
def s3_account(s3_server):
    return account_of(s3_server)


def account_of(s3_server):
    return S3Account(
        endpoint_url=s3_server.endpoint_url,
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        bucket=s3_server.bucket,
    )


@pytest.fixture(scope="session")
def blobs(s3_account):
    return S3Blobs(s3_account)


@pytest.fixture
def store_proxy(s3_server):
    """A proxy before the S3 server, which forwards until a test sets a fault."""
    with running_proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def proxied_account(s3_account, store_proxy):
    return replace(s3_account, endpoint_url=store_proxy.url)


@pytest.fixture(scope="session")
def signer():
    return KeySigner("registry.test/audit", Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def parts(sessions, blobs, s3_account, signer):
    return parts_on(sessions, s3_account, blobs=blobs, signer=signer)


class LastingResult(LatestResult):
    """A result that does not go stale: an app without its lifespan runs no probes."""

    def __init__(self, result):
        super().__init__()
        self._result = result
        self.note(result)

    @property
    def current(self):
        noted = super().current
        return self._result if noted is None else noted


def parts_on(sessions, s3_account, **changes):
    facts = {
        "blobs": S3Blobs(s3_account),
        "staging": S3Staging(s3_account),
        "limits": LIMITS,
        "expected_revision": REVISION,
        "uses": TokenUsage(sessions),
        "issuers": Issuers(),
        "readiness": Readiness(
            LastingResult(DatabaseState(is_available=True, revision=REVISION)),
            LastingResult(StoreState()),
        ),
    }
    return Parts(sessions, **facts | changes)


@pytest.fixture(scope="session")
def app(parts):
    return app_of(parts)


@pytest.fixture
def time(stores, parts):
    """The registry's time; set `ahead` to advance it, or `stop_at` a moment."""
    engine = create_engine(stores.postgres.owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        controlled = RegistryTime(connection, parts)
        yield controlled
        controlled.restore()
    engine.dispose()


@pytest.fixture
def client(app):
    # A server error must be a response to inspect, not an exception in the test.
    with InProcessClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def world(client, tokens, sessions):
    """A namespace for this test alone, with short methods for common requests.

    At the end, a replay of every gate decision in it must return the same result.
    """
    world = World(client, tokens, shares=True)
    yield world
    require_replays(sessions, world.namespace)


def require_replays(sessions, namespace):
    with sessions() as session:
        statement = select(Promotion.id).join(Promotion.channel).join(Channel.prefix)
        decided = session.scalars(statement.where(Prefix.namespace == namespace)).all()
    for promotion_id in decided:
        found = replay(sessions, promotion_id=promotion_id, caller=SYSTEM)
        assert found.differences == ()


@pytest.fixture(scope="session")
def spare_apps():
    """Servers that no test uses at present: a new one prepares its routes at its first request."""
    return []


@pytest.fixture
def world_on(parts, tokens, spare_apps):
    """Return a function that makes a world on a server with some parts replaced."""
    with ExitStack() as stack:

        def world_on(**replaced):
            app = spare_apps.pop() if spare_apps else app_of(parts)
            stack.callback(spare_apps.append, app)
            for each in (app, pages_in(app)):
                each.state.parts = replace(parts, **replaced)
            client = stack.enter_context(InProcessClient(app, raise_server_exceptions=False))
            return World(client, tokens, shares=True)

        yield world_on


@pytest.fixture
def run(stores, tokens, monkeypatch, capsys):
    """Return a function that runs the command and returns its exit status and output."""
    for name, value in stores.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prefix-registry", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capsys.readouterr().out

    return run


@pytest.fixture
def administered(stores, world_on):
    """A world on one connection of the tables' owner; everything is rolled back at the end."""
    engine = create_engine(stores.postgres.owner_url)
    with engine.connect() as connection, connection.begin() as transaction:
        yield world_on(sessions=sessions_on(connection)), connection
        transaction.rollback()
    engine.dispose()
