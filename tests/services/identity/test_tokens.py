"""Tokens: listing them, recording their last use, and issuing the first admin's token."""

import time as real_time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import sessionmaker

from app.db.migrations import migrate
from app.db.models import ApiToken
from app.db.session import engine_for, sessions_on
from app.domain.errors import AlreadyExistsError
from app.domain.identity.tokens import token_hash
from app.local.postgres import SERVICE_ROLE
from app.services.identity.bootstrap import first_admin
from app.services.identity.token_usage import TokenUsage
from tests.support.observing import eventually, keeps_another_waiting
from tests.support.racing import at_once

DAY = timedelta(days=1)


def tokens_of(world, name):
    query = {"principal": name}
    return world.made("GET", "/v1/tokens", by="admin", params=query)["items"]


def last_use(world, name, *, after=""):
    """Wait at most a few seconds until a use after `after` is recorded; return the last use."""
    for _ in range(500):
        (token,) = tokens_of(world, name)
        if (token["last_used_at"] or "") > after:
            break
        real_time.sleep(0.01)
    return token["last_used_at"]


def test_a_listed_token_shows_everything_except_the_secret(world):
    name, secret = world.a_principal()
    limited = world.a_token(name, channels=["staging"], expires_in="PT1H")

    latest, first = tokens_of(world, name)

    assert (latest["channels"], first["channels"]) == (["staging"], None)
    assert {latest["principal"], first["principal"]} == {name}
    assert latest["created_at"] < latest["expires_at"] < first["expires_at"]
    assert (first["revoked_at"], first["last_used_at"]) == (None, None)
    assert secret not in str(first)
    assert limited not in str(latest)


def test_a_revoked_token_is_listed_as_revoked(world):
    name, _ = world.a_principal()
    (token,) = tokens_of(world, name)
    world.call("DELETE", f"/v1/tokens/{token['id']}", by="admin")
    assert tokens_of(world, name)[0]["revoked_at"] >= token["created_at"]


def test_the_use_of_a_token_is_written_once_in_five_minutes(world, time):
    name, token = world.a_principal()
    world.call("GET", "/v1/me", by=token)
    first = last_use(world, name)
    assert first is not None

    world.call("GET", "/v1/me", by=token)
    assert last_use(world, name) == first

    time.ahead = timedelta(minutes=6)
    world.call("GET", "/v1/me", by=token)
    assert last_use(world, name, after=first) > first


def test_a_refused_request_counts_as_a_use(world):
    name, token = world.a_principal()
    assert world.call("GET", world.path, by=token).status_code == 404
    assert last_use(world, name) is not None


def test_a_request_does_not_wait_for_a_lock_on_its_token(world, sessions):
    name, token = world.a_principal()
    with sessions.begin() as session:
        locked = select(ApiToken).where(ApiToken.hash == token_hash(token)).with_for_update()
        session.scalars(locked).one()
        start = real_time.monotonic()
        assert world.call("GET", "/v1/me", by=token).status_code == 200
        assert real_time.monotonic() - start < 5
        assert tokens_of(world, name)[0]["last_used_at"] is None
    assert last_use(world, name) is not None


def test_a_request_succeeds_if_its_token_s_use_cannot_be_recorded(world_on, caplog):
    unavailable = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/unavailable")
    world = world_on(uses=TokenUsage(sessionmaker(unavailable)))
    _, token = world.a_principal()

    assert world.call("GET", "/v1/me", by=token).status_code == 200

    for _ in range(500):
        if caplog.records:
            break
        real_time.sleep(0.01)
    assert "the use of a token was not recorded: OperationalError" in caplog.text


# The first admin


@pytest.fixture
def empty_engine(an_empty_database):
    """An engine on a migrated registry without principals."""
    owner = create_engine(an_empty_database)
    with owner.begin() as connection:
        migrate(connection, service_role=SERVICE_ROLE)
    owner.dispose()
    engine = engine_for(an_empty_database)
    yield engine
    engine.dispose()


@pytest.fixture
def empty(empty_engine):
    return sessions_on(empty_engine)


def try_bootstrap(sessions, name):
    try:
        return first_admin(sessions, name=name, grants=(), lifetime=DAY)
    except AlreadyExistsError as error:
        return error


def test_only_one_of_concurrent_first_admins_is_created(empty):
    names = [f"admin-{number}" for number in range(4)]
    outcomes = at_once(*(lambda name=name: try_bootstrap(empty, name) for name in names))

    made = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(made) == 1
    with empty() as session:
        assert session.scalars(select(ApiToken.hash)).all() == [token_hash(made[0])]


def test_a_second_first_admin_waits_for_the_first_and_is_refused(empty, empty_engine):
    with ThreadPoolExecutor(1) as thread:
        with empty_engine.connect() as connection, connection.begin():
            first = try_bootstrap(sessions_on(connection), "first")
            second = thread.submit(try_bootstrap, empty, "second")
            eventually(lambda: second.done() or keeps_another_waiting(connection))
        refusal = second.result(timeout=20)
    assert isinstance(first, str)
    assert "an admin already" in str(refusal)


def test_a_second_first_admin_is_refused(world, sessions):
    with pytest.raises(AlreadyExistsError, match="an admin already"):
        first_admin(sessions, name=f"a-{uuid.uuid4().hex}", grants=(), lifetime=DAY)


def test_an_admin_who_is_deactivated_while_sending_gets_no_token(world):
    name, token = world.a_principal(None, ("admin", "*"))
    other = world.on_its_own_client()
    tokens_before = len(tokens_of(world, "reader"))

    def slow_body():
        """The head has arrived and was admitted when this is read."""
        yield b'{"principal": '
        assert other.call("DELETE", f"/v1/principals/{name}", by="admin").status_code == 204
        yield b'"reader"}'

    headers = {"Content-Type": "application/json"}
    response = world.call("POST", "/v1/tokens", by=token, content=slow_body(), headers=headers)

    assert (response.status_code, response.json()["type"]) == (401, "/problems/unauthenticated")
    assert len(tokens_of(world, "reader")) == tokens_before
    assert world.last_entry("registry")["action"] == "principal.deactivate"
