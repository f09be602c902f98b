"""The cache that fills itself: what it answers for, and what it leaves to the database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from app.db.tokens import ValidToken
from app.domain.delivery.cache_lease import LEASE_S
from app.domain.delivery.served_channel import ServedChannel, ServedVersion
from app.domain.identity.access import Caller, PrincipalKind
from app.domain.identity.credentials import ServerCredential
from app.domain.naming import PrefixName
from app.services.delivery.cache import ChannelCache
from app.services.delivery.cache_loader import ReadThroughCache
from app.services.identity.token_usage import RECORDING_INTERVAL
from tests.support.racing import run_in_thread

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = ("acme", "voice", "production")


class Uses:
    """Records the uses that are noted."""

    def __init__(self):
        self.noted = []

    def note(self, token, now):
        self.noted.append((token.id, now))


class SteppedClock:
    """A clock that moves when a test moves it."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def a_channel():
    version = ServedVersion(uuid4(), 1, 10_000, f"sha256:{'a' * 64}", f"sha256:{'b' * 64}", ())
    return ServedChannel(uuid4(), uuid4(), PrefixName(*KEY[:2]), KEY[2], 1, (version,))


def a_token(**changes):
    caller = Caller(uuid4(), "fleet", PrincipalKind.SERVICE, frozenset(), ServerCredential())
    token = ValidToken(uuid4(), caller, NOW + timedelta(days=1), None)
    return replace(token, **changes)


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def loader(clock):
    """A cache with a channel, whose lease has just begun."""
    cache = ChannelCache(clock)
    cache.renew(clock())
    cache.store_channel(a_channel(), cache.epoch)
    return ReadThroughCache(cache)


def keep(loader, token):
    loader.channel_cache.store_token("hash", token, loader.channel_cache.epoch)


def test_no_caller_waits_on_a_cache_whose_lease_has_run_out(loader, clock):
    """Nothing would wake the caller: the process may no longer hear of changes."""
    clock.now += LEASE_S
    assert run_in_thread(loader.change(KEY, 1, timeout_s=0)) is False


def test_a_caller_waits_as_long_as_the_lease_holds(loader, clock):
    clock.now += LEASE_S - 0.001
    assert run_in_thread(loader.change(KEY, 1, timeout_s=0)) is True


def test_of_many_requests_by_one_token_one_use_is_noted(loader):
    keep(loader, a_token())
    uses = Uses()
    for seconds in range(5):
        assert loader.token("hash", NOW + timedelta(seconds=seconds), uses) is not None
    assert [now for _, now in uses.noted] == [NOW]


@pytest.mark.parametrize(
    ("since", "noted"),
    [(RECORDING_INTERVAL - timedelta(microseconds=1), 0), (RECORDING_INTERVAL, 1)],
    ids=["before-the-interval", "at-the-interval"],
)
def test_a_use_is_noted_again_after_the_interval(loader, since, noted):
    keep(loader, a_token(last_used_at=NOW - since))
    uses = Uses()
    loader.token("hash", NOW, uses)
    assert len(uses.noted) == noted


def test_at_its_very_expiry_a_token_holds_no_longer(loader):
    keep(loader, a_token(expires_at=NOW))
    assert loader.token("hash", NOW - timedelta(microseconds=1), Uses()) is not None
    assert loader.token("hash", NOW, Uses()) is None


def test_a_cache_whose_lease_has_run_out_vouches_for_no_token(loader, clock):
    keep(loader, a_token())
    clock.now += LEASE_S
    assert loader.token("hash", NOW, Uses()) is None
