"""What a process remembers: kept, forgotten, read once, and never older than what was heard."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import sessionmaker

from app.db.session import engine_for, sessions_on
from app.db.tokens import ValidToken
from app.db.worker_leases import Notification
from app.domain.delivery.cache_lease import LEASE_S
from app.domain.delivery.served_channel import ServedChannel, ServedVersion
from app.domain.identity.access import Caller, PrincipalKind
from app.domain.identity.tokens import new_token, token_hash
from app.domain.naming import PrefixName
from app.services.delivery import cache as memory_module
from app.services.delivery.cache import ChannelCache, elapsed
from app.services.delivery.cache_invalidation import InvalidationStream, invalidate
from app.services.delivery.cache_loader import ReadThroughCache
from app.services.delivery.waiters import finish
from tests.support.replicas import apart

NOW = datetime.now(UTC)  # noqa: TID251 - tokens are issued at the real time
KEY = ("acme", "voice", "production")
TOKEN = new_token()


def a_channel(generation=1, name="production"):
    version = ServedVersion(uuid4(), 1, 10_000, f"sha256:{'a' * 64}", f"sha256:{'b' * 64}", ())
    prefix = PrefixName("acme", "voice")
    return ServedChannel(uuid4(), uuid4(), prefix, name, generation, (version,))


def a_token():
    caller = Caller(uuid4(), "fleet", PrincipalKind.SERVICE, frozenset())
    return ValidToken(uuid4(), caller, NOW + timedelta(days=1), None)


@pytest.fixture
def channel_cache():
    """A memory with a token and a channel, whose lease holds for now."""
    channel_cache = ChannelCache()
    channel_cache.renew(elapsed())
    channel_cache.keep_token("hash", a_token(), channel_cache.epoch)
    channel_cache.keep_channel(a_channel(), channel_cache.epoch)
    return channel_cache


def test_a_lease_runs_out_by_the_memory_s_own_clock():
    moment = 100.0
    channel_cache = ChannelCache(clock=lambda: moment)
    assert not channel_cache.is_current()
    channel_cache.renew(moment)
    assert channel_cache.is_current()
    moment += LEASE_S
    assert not channel_cache.is_current()


def test_the_end_forgets_everything(channel_cache):
    channel_cache.end()
    assert not channel_cache.is_current()
    assert (channel_cache.token("hash"), channel_cache.channel(KEY)) == (None, None)


def test_what_was_read_before_a_change_was_heard_of_is_not_kept():
    channel_cache = ChannelCache()
    before = channel_cache.epoch
    channel_cache.invalidate_channels(lambda _: False)
    channel_cache.keep_channel(a_channel(), before)
    channel_cache.keep_token("hash", a_token(), before)
    assert (channel_cache.token("hash"), channel_cache.channel(KEY)) == (None, None)


def test_the_use_of_a_token_is_remembered_with_it(channel_cache):
    channel_cache.note_use("hash", NOW)
    channel_cache.note_use("another", NOW)
    assert channel_cache.token("hash").last_used_at == NOW
    assert channel_cache.token("another") is None


def test_memory_does_not_grow_without_end(channel_cache, monkeypatch):
    monkeypatch.setattr(memory_module, "_MOST", 2)
    for name in ("staging", "canary"):
        channel_cache.keep_channel(a_channel(name=name), channel_cache.epoch)
    assert channel_cache.channel(KEY) is None
    assert channel_cache.channel(("acme", "voice", "canary")) is not None


# Forgetting what an announced change concerns


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
def test_a_change_is_forgotten_where_it_concerns_something_and_nowhere_else(
    channel_cache, kind, left
):
    concerned = ids(channel_cache)[kind]
    for about in (uuid4(), concerned):
        assert channel_cache.token("hash") is not None
        assert channel_cache.channel(KEY) is not None
        invalidate(channel_cache, Notification(kind, str(about)))
    assert (channel_cache.token("hash") is not None, channel_cache.channel(KEY) is not None) == left


@pytest.mark.parametrize(
    "notification", [Notification("planet", str(UUID(int=1))), Notification("version", "nonsense")]
)
def test_what_is_not_understood_makes_memory_forget_everything(channel_cache, notification):
    invalidate(channel_cache, notification)
    assert (channel_cache.token("hash"), channel_cache.channel(KEY)) == (None, None)


# Reading what is lacking


@pytest.fixture
def nowhere():
    engine = engine_for("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    yield sessions_on(engine)
    engine.dispose()


def with_a_lease():
    cache = ReadThroughCache()
    cache.channel_cache.renew(elapsed())
    return cache


def test_what_the_database_does_not_tell_is_not_remembered(nowhere):
    cache = with_a_lease()

    async def ask():
        await cache.prepare_token(nowhere, TOKEN, NOW)
        await cache.prepare_channel(nowhere, KEY)

    apart(ask())
    assert cache.channel_cache.channel(KEY) is None
    assert cache.channel_cache.token(token_hash(TOKEN)) is None


def test_what_cannot_exist_is_not_asked_for():
    cache = with_a_lease()
    refusing = sessionmaker()  # without a database, asking would fail

    async def ask():
        await cache.prepare_token(refusing, "no-token", NOW)
        await cache.prepare_channel(refusing, ("acme", "voice", "UPPER"))
        await cache.prepare_channel(refusing, ("-", "voice", "production"))

    apart(ask())


def test_without_a_lease_no_token_is_read():
    refusing = sessionmaker()  # without a database, asking would fail
    apart(ReadThroughCache().prepare_token(refusing, TOKEN, NOW))


def test_many_who_ask_at_once_share_one_reader(world, sessions):
    world.a_live_version()
    opened = []

    def counted():
        opened.append(threading.get_ident())
        return sessions()

    cache = ReadThroughCache()
    key = (*world.prefix.split("/"), "production")

    async def ask():
        await asyncio.gather(*(cache.prepare_channel(counted, key) for _ in range(50)))

    apart(ask())
    assert len(opened) == 1
    assert cache.channel_cache.channel(key).channel.generation == 1


def test_a_token_that_does_not_hold_and_a_channel_that_serves_nothing_are_not_kept(world, sessions):
    world.a_prefix()
    world.a_channel()
    cache = ReadThroughCache()
    token = new_token()
    key = (*world.prefix.split("/"), "production")

    async def ask():
        await cache.prepare_token(sessions, token, NOW)
        await cache.prepare_channel(sessions, key)
        await cache.prepare_channel(sessions, (*key[:2], "staging"))

    apart(ask())
    assert cache.channel_cache.channel(key) is None


# Waiting for a change


def changed(cache, generation, timeout_s=20.0, meanwhile=lambda: None):
    async def wait():
        waiting = asyncio.create_task(cache.change(KEY, generation, timeout_s))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(meanwhile)
        return await asyncio.wait_for(waiting, 10)

    return apart(wait())


def test_whoever_waits_is_woken_by_what_concerns_the_channel(channel_cache):
    concerned = Notification("prefix", str(ids(channel_cache)["prefix"]))
    assert changed(
        ReadThroughCache(channel_cache), 1, meanwhile=lambda: invalidate(channel_cache, concerned)
    )


def test_whoever_waits_gives_up_in_time(channel_cache):
    assert changed(ReadThroughCache(channel_cache), 1, timeout_s=0.1)


def test_whoever_comes_too_late_does_not_wait(channel_cache):
    assert changed(ReadThroughCache(channel_cache), 7)


def test_nobody_waits_for_what_memory_does_not_know(channel_cache):
    cache = ReadThroughCache(channel_cache)
    channel_cache.end()
    assert not changed(cache, 1)


def test_nobody_waits_once_the_process_ends(channel_cache):
    cache = ReadThroughCache(channel_cache)
    assert changed(cache, 1, meanwhile=cache.close)
    assert cache.is_closed


def test_two_watchers_of_one_channel_leave_one_after_the_other(channel_cache):
    cache = ReadThroughCache(channel_cache)

    async def wait():
        short = asyncio.create_task(cache.change(KEY, 1, 0.05))
        long = asyncio.create_task(cache.change(KEY, 1, 20))
        await short
        assert not long.done()
        channel_cache.end()
        return await asyncio.wait_for(long, 10)

    assert apart(wait())


def test_a_watcher_that_is_woken_twice_is_woken_once():
    async def twice():
        future = asyncio.get_running_loop().create_future()
        finish(future)
        finish(future)
        await future

    apart(twice())


# Hearing


class SilentEar:
    """Stands for a connection, to hand over notifications that come late."""

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
def test_a_proof_that_comes_late_renews_from_when_it_was_sent(late_s, is_current):
    channel_cache = ChannelCache()
    InvalidationStream(SilentEar(), channel_cache).apply(
        [Notification("proof", repr(elapsed() - late_s))]
    )
    assert channel_cache.is_current() == is_current


def test_a_connection_that_hears_not_even_itself_is_told_of_in_the_log(caplog):
    channel_cache = ChannelCache()
    InvalidationStream(SilentEar(), channel_cache).until(threading.Event())
    assert not channel_cache.is_current()
    assert "no notification came back in time" in caplog.text
    assert "taken for dead" in caplog.text


def test_barriers_are_confirmed_once_what_came_before_them_is_forgotten(channel_cache):
    ear = SilentEar()
    about = str(ids(channel_cache)["prefix"])
    InvalidationStream(ear, channel_cache).apply(
        [Notification("barrier", "7"), Notification("prefix", about), Notification("barrier", "9")]
    )
    assert channel_cache.channel(KEY) is None
    assert ear.confirmed == [9]
