"""The comparison of a stored gate decision with its replay."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final, TypeGuard

from app.domain.naming import Json

_ABSENT: Final = "absent"


def differences(stored: Json, replayed: Json, path: str = "") -> Iterator[str]:
    """Yield the differences of two JSON documents, one sentence each; numbers must be equal."""
    if isinstance(stored, Mapping) and isinstance(replayed, Mapping):
        for name in sorted({*stored, *replayed}):
            member = f"{path}.{name}" if path else name
            yield from differences(stored.get(name, _ABSENT), replayed.get(name, _ABSENT), member)
    elif _is_list(stored) and _is_list(replayed):
        pairs = enumerate(zip_longest(stored, replayed, fillvalue=_ABSENT))
        for index, (one, other) in pairs:
            yield from differences(one, other, f"{path}[{index}]")
    elif stored != replayed:
        yield f"{path} was {_shown(stored)}; on replay it is {_shown(replayed)}."


def _is_list(value: Json) -> TypeGuard[Sequence[Json]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shown(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - enough to find it
