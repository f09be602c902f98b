"""Loading cache misses: one database read for concurrent requests, off the event loop."""

import asyncio
import re
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Sessions
from app.db.tokens import ValidToken, valid_token
from app.domain.delivery.served_channel import ChannelKey
from app.domain.identity.tokens import is_token, token_hash
from app.domain.naming import LABEL_PATTERN, PrefixName, is_name
from app.services.delivery.cache import ChannelCache
from app.services.delivery.resolve import served_channel
from app.services.identity.token_usage import RECORDING_INTERVAL, TokenUsage

_LABEL: Final = re.compile(LABEL_PATTERN)


class ReadThroughCache:
    """A cache that loads its misses. If it cannot, the caller has to query the database.

    It has a small dedicated thread pool, so that resolving never waits behind pushes.
    """

    def __init__(self, channel_cache: ChannelCache | None = None) -> None:
        self.channel_cache = channel_cache or ChannelCache()
        self.is_closed = False
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="cache-loader")
        self._reading: dict[Hashable, asyncio.Future[None]] = {}

    async def prepare_token(self, sessions: Sessions, token: str) -> str:
        """Load a token into the cache, if it is valid and not cached yet; return its hash."""
        hashed = token_hash(token)
        if (
            self.channel_cache.token(hashed) is None
            and self.channel_cache.is_current()
            and is_token(token)
        ):
            await self._once(hashed, lambda: self._read_token(sessions, token))
        return hashed

    def token(self, hashed: str, now: datetime, uses: TokenUsage) -> ValidToken | None:
        """Return a token from the cache, if it may be served now; record its use in `uses`."""
        found = self.channel_cache.token(hashed)
        if found is None or found.expires_at <= now or not self.channel_cache.is_current():
            return None
        if found.last_used_at is None or now - found.last_used_at >= RECORDING_INTERVAL:
            uses.note(found, now)
            self.channel_cache.note_use(hashed, now)
        return found

    async def prepare_channel(self, sessions: Sessions, key: ChannelKey) -> None:
        """Load a channel into the cache, if it serves a version and is not cached yet."""
        namespace, name, channel = key
        well_formed = is_name(namespace) and is_name(name) and _LABEL.fullmatch(channel)
        if self.channel_cache.channel(key) is None and well_formed:
            await self._once(key, lambda: self._read_channel(sessions, key))

    async def change(self, key: ChannelKey, generation: int, timeout_s: float) -> bool:
        """Wait until a channel is no longer at `generation`, at most `timeout_s` seconds.

        Return False without waiting if the channel is not in the cache.
        """
        waiter = self.channel_cache.waiters.add(key)
        try:
            # Look up after adding the waiter: every later change wakes it.
            cached = self.channel_cache.channel(key)
            if cached is None or not self.channel_cache.is_current():
                return False
            if cached.channel.generation == generation:
                await waiter.wait(timeout_s)
            return True
        finally:
            self.channel_cache.waiters.remove(key, waiter)

    def close(self) -> None:
        """Wake all waiters, because the process is shutting down."""
        self.is_closed = True
        self.channel_cache.waiters.wake_all()

    async def _once(self, key: Hashable, read: Callable[[], None]) -> None:
        """Read in a thread; concurrent calls with the same key share one read."""
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.get_running_loop().run_in_executor(self._threads, read)
            self._reading[key] = reading
            reading.add_done_callback(lambda _: self._reading.pop(key, None))
        # A cancelled caller must not cancel the read for the others.
        await asyncio.shield(reading)

    def _read_token(self, sessions: Sessions, token: str) -> None:
        epoch = self.channel_cache.epoch
        try:
            with sessions() as session:
                found = valid_token(session, token)
        except SQLAlchemyError:
            return  # the caller then queries the database itself and reports the failure
        if found is not None:
            self.channel_cache.store_token(token_hash(token), found, epoch)

    def _read_channel(self, sessions: Sessions, key: ChannelKey) -> None:
        epoch = self.channel_cache.epoch
        namespace, name, channel = key
        try:
            with sessions() as session:
                found = served_channel(session, PrefixName(namespace, name), channel)
        except SQLAlchemyError:
            return
        if found is not None and found.versions:
            self.channel_cache.store_channel(found, epoch)
