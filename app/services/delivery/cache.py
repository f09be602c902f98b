"""What this process remembers, answered only while it provably hears of every change."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from app.db.tokens import ValidToken
from app.domain.delivery.cache_lease import Lease
from app.domain.delivery.served_channel import ChannelKey, ServedChannel
from app.services.delivery.waiters import Waiters

# Enough for any fleet; whoever has more begins anew, which costs a query for each.
_MOST: Final = 20_000


def elapsed() -> float:
    """Return seconds that also count while the machine sleeps, from an arbitrary beginning."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class CachedChannel:
    """A channel, and what was made of it: answers by version number."""

    channel: ServedChannel
    made: dict[int, Any] = field(default_factory=dict)


class ChannelCache:
    """Tokens and channels as the database had them; any thread may ask.

    It is of no use until a listener renews its lease, and whenever that runs out. What was read
    before a change was heard of is not kept: its `epoch` is over.
    """

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self.waiters = Waiters()
        self._clock = clock
        self._lock = threading.Lock()
        self._lease = Lease()
        self._epoch = 0
        self._tokens: dict[str, ValidToken] = {}
        self._channels: dict[ChannelKey, CachedChannel] = {}

    @property
    def epoch(self) -> int:
        return self._epoch

    def is_current(self) -> bool:
        """Whether what was just looked up may be answered: ask this last."""
        return self._lease.holds(self._clock())

    def token(self, token_hash: str) -> ValidToken | None:
        return self._tokens.get(token_hash)

    def channel(self, key: ChannelKey) -> CachedChannel | None:
        return self._channels.get(key)

    def keep_token(self, token_hash: str, token: ValidToken, epoch: int) -> None:
        with self._lock:
            if epoch == self._epoch:
                _keep(self._tokens, token_hash, token)

    def keep_channel(self, channel: ServedChannel, epoch: int) -> None:
        with self._lock:
            if epoch == self._epoch:
                _keep(self._channels, channel.key, CachedChannel(channel))

    def note_use(self, token_hash: str, now: datetime) -> None:
        """Remember that a token's use is being written down."""
        with self._lock:
            token = self._tokens.get(token_hash)
            if token is not None:
                self._tokens[token_hash] = replace(token, last_used_at=now)

    def renew(self, begun: float) -> None:
        """Note that every change committed before `begun` was heard of."""
        self._lease.renew(begun)

    def end(self) -> None:
        """Forget everything, as from now on changes may go unheard."""
        self._lease.end()
        self.invalidate_everything()

    def invalidate_everything(self) -> None:
        with self._lock:
            self._epoch += 1
            self._tokens.clear()
            self._channels.clear()
        self.waiters.wake_all()

    def invalidate_tokens(self, concerned: Callable[[ValidToken], bool]) -> None:
        with self._lock:
            self._epoch += 1
            for token_hash in [each for each, kept in self._tokens.items() if concerned(kept)]:
                del self._tokens[token_hash]

    def invalidate_channels(self, concerned: Callable[[ServedChannel], bool]) -> None:
        """Forget channels, and wake who watches them."""
        with self._lock:
            self._epoch += 1
            keys = [key for key, kept in self._channels.items() if concerned(kept.channel)]
            for key in keys:
                del self._channels[key]
        self.waiters.wake(keys)


def _keep(kept: dict[Any, Any], key: object, value: object) -> None:
    if len(kept) >= _MOST:
        kept.clear()
    kept[key] = value
