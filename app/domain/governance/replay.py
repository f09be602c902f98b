"""Comparing a decision with the same decision made again."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final, TypeGuard

from app.domain.naming import Json

_ABSENT: Final = "nothing"


def differences(stored: Json, again: Json, where: str = "") -> Iterator[str]:
    """Yield, as one sentence each, where two JSON documents differ; numbers must be equal."""
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for name in sorted({*stored, *again}):
            at = f"{where}.{name}" if where else name
            yield from differences(stored.get(name, _ABSENT), again.get(name, _ABSENT), at)
    elif _is_list(stored) and _is_list(again):
        pairs = enumerate(zip_longest(stored, again, fillvalue=_ABSENT))
        for index, (one, other) in pairs:
            yield from differences(one, other, f"{where}[{index}]")
    elif stored != again:
        yield f"{where} was {_shown(stored)}; made again it is {_shown(again)}."


def _is_list(value: Json) -> TypeGuard[Sequence[Json]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shown(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - enough to find it
