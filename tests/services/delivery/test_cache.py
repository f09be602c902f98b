"""The cache: storing, invalidating and loading entries, waiting for changes, notifications."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import sessionmaker

from app.db.clock import elapsed
from app.db.session import engine_for, sessions_on
from app.db.tokens import ValidToken
from app.db.worker_leases import Notification
from app.domain.delivery.cache_lease import LEASE_S
from app.domain.delivery.served_channel import ServedChannel, ServedVersion
from app.domain.identity.access import Caller, PrincipalKind
from app.domain.identity.credentials import ServerCredential
from app.domain.identity.tokens import new_token, token_hash
from app.domain.naming import PrefixName
from app.services.delivery import cache as cache_module
from app.services.delivery.cache import ChannelCache
from app.services.delivery.cache_invalidation import InvalidationStream, invalidate
from app.services.delivery.cache_loader import ReadThroughCache
from app.services.delivery.waiters import finish
from tests.support.racing import run_in_thread

NOW = datetime.now(UTC)  # noqa: TID251 - tokens are issued at the real time
KEY = ("acme", "voice", "production")
TOKEN = new_token()


def a_channel(generation=1, name="production"):
    version = ServedVersion(uuid4(), 1, 10_000, f"sha256:{'a' * 64}", f"sha256:{'b' * 64}", ())
    prefix = PrefixName("acme", "voice")
    return ServedChannel(uuid4(), uuid4(), prefix, name, generation, (version,))


def a_token():
    caller = Caller(uuid4(), "fleet", PrincipalKind.SERVICE, frozenset(), ServerCredential())
    return ValidToken(uuid4(), caller, NOW + timedelta(days=1), None)


@pytest.fixture
def channel_cache():
    """A cache with a token, a channel and a current lease."""
    channel_cache = ChannelCache()
    channel_cache.renew(elapsed())
    channel_cache.store_token("hash", a_token(), channel_cache.epoch)
    channel_cache.store_channel(a_channel(), channel_cache.epoch)
    return channel_cache


def test_a_lease_expires_by_the_clock_of_the_cache():
    moment = 100.0
    channel_cache = ChannelCache(clock=lambda: moment)
    assert not channel_cache.is_current()
    channel_cache.renew(moment)
    assert channel_cache.is_current()
    moment += LEASE_S
    assert not channel_cache.is_current()


def test_the_end_of_the_lease_invalidates_everything(channel_cache):
    channel_cache.end()
    assert not channel_cache.is_current()
    assert (channel_cache.token("hash"), channel_cache.channel(KEY)) == (None, None)


def test_a_value_read_in_an_earlier_epoch_is_not_stored():
    channel_cache = ChannelCache()
    before = channel_cache.epoch
    channel_cache.invalidate_channels(lambda _: False)
    channel_cache.store_channel(a_channel(), before)
    channel_cache.store_token("hash", a_token(), before)
    assert (channel_cache.token("hash"), channel_cache.channel(KEY)) == (None, None)


def test_a_change_is_remembered_for_what_runs_since(channel_cache):
    begun, changed, other = channel_cache.epoch, uuid4(), uuid4()
    channel_cache.note_change(changed)
    assert channel_cache.has_changed([other, changed], begun)
    assert not channel_cache.has_changed([other], begun)
    assert not channel_cache.has_changed([changed], channel_cache.epoch)


def test_changes_that_were_forgotten_may_concern_everything(channel_cache, monkeypatch):
    monkeypatch.setattr("app.services.delivery.cache._CAPACITY", 1)
    begun, other = channel_cache.epoch, uuid4()
    channel_cache.note_change(uuid4())
    assert not channel_cache.has_changed([other], begun)
    channel_cache.note_change(uuid4())
    assert channel_cache.has_changed([other], begun)


def test_the_last_use_of_a_cached_token_is_updated(channel_cache):
    channel_cache.note_use("hash", NOW)
    channel_cache.note_use("another", NOW)
    assert channel_cache.token("hash").last_used_at == NOW
    assert channel_cache.token("another") is None


def test_the_cache_has_a_limited_capacity(channel_cache, monkeypatch):
    monkeypatch.setattr(cache_module, "_CAPACITY", 2)
    for name in ("staging", "canary"):
        channel_cache.store_channel(a_channel(name=name), channel_cache.epoch)
    assert channel_cache.channel(KEY) is None
    assert channel_cache.channel(("acme", "voice", "canary")) is not None


# Invalidation


def ids(channel_cache):
    channel = channel_cache.channel(KEY).channel
    return {
        "principal": channel_cache.token("hash").caller.id,
        "prefix": channel.prefix_id,
        "version": channel.versions[0].id,
    }


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        pytest.param("principal", (False, True), id="principal"),
        pytest.param("prefix", (True, False), id="prefix"),
        pytest.param("version", (True, False), id="version"),
    ],
)
def test_a_change_invalidates_only_the_affected_entries(channel_cache, kind, left):
    affected = ids(channel_cache)[kind]
    for about in (uuid4(), affected):
        assert channel_cache.token("hash") is not None
        assert channel_cache.channel(KEY) is not None
        invalidate(channel_cache, Notification(kind, str(about)))
    assert (channel_cache.token("hash") is not None, channel_cache.channel(KEY) is not None) == left


@pytest.mark.parametrize(
    "notification", [Notification("planet", str(UUID(int=1))), Notification("version", "nonsense")]
)
def test_an_unknown_notification_invalidates_everything(channel_cache, notification):
    invalidate(channel_cache, notification)
    assert (channel_cache.token("hash"), channel_cache.channel(KEY)) == (None, None)


# Loading misses


@pytest.fixture
def unavailable():
    engine = engine_for("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    yield sessions_on(engine)
    engine.dispose()


def cache_with_lease():
    cache = ReadThroughCache()
    cache.channel_cache.renew(elapsed())
    return cache


def test_a_failed_read_caches_nothing(unavailable):
    cache = cache_with_lease()

    async def ask():
        await cache.prepare_token(unavailable, TOKEN)
        await cache.prepare_channel(unavailable, KEY)

    run_in_thread(ask())
    assert cache.channel_cache.channel(KEY) is None
    assert cache.channel_cache.token(token_hash(TOKEN)) is None


def test_malformed_keys_are_not_read():
    cache = cache_with_lease()
    refusing = sessionmaker()  # without a database, so a query would fail

    async def ask():
        await cache.prepare_token(refusing, "no-token")
        await cache.prepare_channel(refusing, ("acme", "voice", "UPPER"))
        await cache.prepare_channel(refusing, ("-", "voice", "production"))

    run_in_thread(ask())


def test_no_token_is_read_without_a_lease():
    refusing = sessionmaker()  # without a database, so a query would fail
    run_in_thread(ReadThroughCache().prepare_token(refusing, TOKEN))


def test_concurrent_requests_share_one_read(world, sessions):
    world.a_live_version()
    opened = []

    def counted():
        opened.append(threading.get_ident())
        return sessions()

    cache = ReadThroughCache()
    key = (*world.prefix.split("/"), "production")

    async def ask():
        await asyncio.gather(*(cache.prepare_channel(counted, key) for _ in range(50)))

    run_in_thread(ask())
    assert len(opened) == 1
    assert cache.channel_cache.channel(key).channel.generation == 1


def test_an_invalid_token_and_an_empty_channel_are_not_cached(world, sessions):
    world.a_prefix()
    world.a_channel()
    cache = ReadThroughCache()
    token = new_token()
    key = (*world.prefix.split("/"), "production")

    async def ask():
        await cache.prepare_token(sessions, token)
        await cache.prepare_channel(sessions, key)
        await cache.prepare_channel(sessions, (*key[:2], "staging"))

    run_in_thread(ask())
    assert cache.channel_cache.channel(key) is None


# Waiting for a change


def changed(cache, generation, timeout_s=20.0, while_waiting=lambda: None):
    async def wait():
        waiting = asyncio.create_task(cache.change(KEY, generation, timeout_s))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(while_waiting)
        return await asyncio.wait_for(waiting, 10)

    return run_in_thread(wait())


def test_a_waiter_is_woken_by_a_change_of_its_channel(channel_cache):
    affected = Notification("prefix", str(ids(channel_cache)["prefix"]))
    assert changed(
        ReadThroughCache(channel_cache),
        1,
        while_waiting=lambda: invalidate(channel_cache, affected),
    )


def test_a_waiter_returns_after_its_timeout(channel_cache):
    assert changed(ReadThroughCache(channel_cache), 1, timeout_s=0.1)


def test_a_caller_with_an_old_generation_does_not_wait(channel_cache):
    assert changed(ReadThroughCache(channel_cache), 7)


def test_a_caller_does_not_wait_for_a_channel_that_is_not_cached(channel_cache):
    cache = ReadThroughCache(channel_cache)
    channel_cache.end()
    assert not changed(cache, 1)


def test_the_end_of_the_process_wakes_waiters(channel_cache):
    cache = ReadThroughCache(channel_cache)
    assert changed(cache, 1, while_waiting=cache.close)
    assert cache.is_closed


def test_two_waiters_of_one_channel_return_independently(channel_cache):
    cache = ReadThroughCache(channel_cache)

    async def wait():
        short = asyncio.create_task(cache.change(KEY, 1, 0.05))
        long = asyncio.create_task(cache.change(KEY, 1, 20))
        await short
        assert not long.done()
        channel_cache.end()
        return await asyncio.wait_for(long, 10)

    assert run_in_thread(wait())


def test_waking_a_waiter_twice_is_harmless():
    async def twice():
        future = asyncio.get_running_loop().create_future()
        finish(future)
        finish(future)
        await future

    run_in_thread(twice())


# Notifications


class SilentConnection:
    """A connection without notifications, for streams that receive them from the test."""

    def __init__(self):
        self.confirmed = []
        self._left = 3

    def confirm(self, barrier):
        self.confirmed.append(barrier)

    def prove(self, begun):
        self._left -= 1
        return self._left > 0

    def listen(self, timeout_s):
        time.sleep(timeout_s)
        return []


@pytest.mark.parametrize(("late_s", "is_current"), [(LEASE_S / 2, True), (LEASE_S, False)])
def test_a_late_proof_renews_the_lease_from_its_sending(late_s, is_current):
    channel_cache = ChannelCache()
    InvalidationStream(SilentConnection(), channel_cache).apply(
        [Notification("proof", repr(elapsed() - late_s))]
    )
    assert channel_cache.is_current() == is_current


def test_a_connection_without_notifications_is_logged(caplog):
    channel_cache = ChannelCache()
    InvalidationStream(SilentConnection(), channel_cache).until(threading.Event())
    assert not channel_cache.is_current()
    assert "no notification returned in time" in caplog.text
    assert "declared dead" in caplog.text


def test_barriers_are_confirmed_after_earlier_changes_are_invalidated(channel_cache):
    connection = SilentConnection()
    about = str(ids(channel_cache)["prefix"])
    InvalidationStream(connection, channel_cache).apply(
        [Notification("barrier", "7"), Notification("prefix", about), Notification("barrier", "9")]
    )
    assert channel_cache.channel(KEY) is None
    assert connection.confirmed == [9]
