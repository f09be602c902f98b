"""This process's cache of tokens and channels, valid only while its cache lease holds."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.db.clock import elapsed
from app.db.tokens import ValidToken
from app.domain.delivery.cache_lease import CacheLease
from app.domain.delivery.served_channel import ChannelKey, ServedChannel
from app.services.delivery.waiters import Waiters

# Enough for any known fleet. A full cache is cleared, which costs one query for each entry.
_CAPACITY: Final = 20_000


@dataclass(frozen=True, slots=True)
class CachedChannel:
    """A channel, with the responses rendered from it by version number."""

    channel: ServedChannel
    rendered: dict[int, Any] = field(default_factory=dict)


class ChannelCache:
    """A thread-safe cache of tokens and channels.

    Its entries may be served only while a listener keeps renewing the cache lease. Every
    invalidation starts a new `epoch`; a value that was read in an earlier epoch is not stored,
    because it may be out of date.
    """

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self.waiters = Waiters()
        self._clock = clock
        self._lock = threading.Lock()
        self._lease = CacheLease()
        self._epoch = 0
        self._tokens: dict[str, ValidToken] = {}
        self._channels: dict[ChannelKey, CachedChannel] = {}
        self._changed: dict[UUID, int] = {}
        self._all_changed = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    def is_current(self) -> bool:
        """Whether an entry may be served; check this after looking it up."""
        return self._lease.holds(self._clock())

    def has_changed(self, about: Iterable[UUID], since: int) -> bool:
        """Whether one of these principals, prefixes or versions may have changed since an epoch."""
        return self._all_changed > since or any(self._changed.get(id_, 0) > since for id_ in about)

    def note_change(self, about: UUID) -> None:
        """Note that a principal, prefix or version has changed, for what runs at this time."""
        with self._lock:
            self._epoch += 1
            if len(self._changed) >= _CAPACITY:
                self._changed.clear()
                self._all_changed = self._epoch
            self._changed[about] = self._epoch

    def token(self, token_hash: str) -> ValidToken | None:
        return self._tokens.get(token_hash)

    def channel(self, key: ChannelKey) -> CachedChannel | None:
        return self._channels.get(key)

    def store_token(self, token_hash: str, token: ValidToken, epoch: int) -> None:
        with self._lock:
            if epoch == self._epoch:
                _store(self._tokens, token_hash, token)

    def store_channel(self, channel: ServedChannel, epoch: int) -> None:
        with self._lock:
            if epoch == self._epoch:
                _store(self._channels, channel.key, CachedChannel(channel))

    def note_use(self, token_hash: str, now: datetime) -> None:
        """Update a cached token's last use, so that it is not recorded again at once."""
        with self._lock:
            token = self._tokens.get(token_hash)
            if token is not None:
                self._tokens[token_hash] = replace(token, last_used_at=now)

    def renew(self, begun: float) -> None:
        """Renew the lease: every change committed before `begun` has been applied."""
        self._lease.renew(begun)

    def end(self) -> None:
        """End the lease and invalidate everything, since notifications may now be missed."""
        self._lease.end()
        self.invalidate_everything()

    def invalidate_everything(self) -> None:
        with self._lock:
            self._epoch += 1
            self._all_changed = self._epoch
            self._changed.clear()
            self._tokens.clear()
            self._channels.clear()
        self.waiters.wake_all()

    def invalidate_tokens(self, affected: Callable[[ValidToken], bool]) -> None:
        with self._lock:
            self._epoch += 1
            for token_hash in [key for key, token in self._tokens.items() if affected(token)]:
                del self._tokens[token_hash]

    def invalidate_channels(self, affected: Callable[[ServedChannel], bool]) -> None:
        """Invalidate the affected channels and wake their waiters."""
        with self._lock:
            self._epoch += 1
            keys = [key for key, cached in self._channels.items() if affected(cached.channel)]
            for key in keys:
                del self._channels[key]
        self.waiters.wake(keys)


def _store(entries: dict[Any, Any], key: object, value: object) -> None:
    if len(entries) >= _CAPACITY:
        entries.clear()
    entries[key] = value
