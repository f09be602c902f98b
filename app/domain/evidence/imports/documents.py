"""Typed access to documents that evaluation tools wrote; none of their content is trusted."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import rfc8785

from app.domain.errors import Fault
from app.domain.evidence.samples import GREATEST_SCORE
from app.domain.evidence.suites import Suite
from app.domain.naming import Json
from app.domain.strict_json import quoted

_SETTING_LIMIT_BYTES: Final = 4096
_VERSION_LIMIT: Final = 64
_NAMES_SHOWN: Final = 20
_MARKS: Final = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}


class InvalidScoreError(ValueError):
    """A score that is not a number; the message describes its value."""


def member(document: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """Return the object at the end of this path of names, or an empty object."""
    found: object = document
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def number(value: object) -> float | None:
    """Return a number as a float, None for any other value, including a boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def count(value: object) -> int | None:
    """Return an integer of at least 0, None for any other value."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def score(value: object, *, marks: bool = False) -> float | None:
    """Return a score as a number; None if the tool wrote NaN because there is none.

    Args:
        value: The value that the tool wrote.
        marks: Whether C, I, P and N stand for correct, incorrect, partial and no answer.

    Raises:
        InvalidScoreError: The value is a string, a list, an object or null, or too large to sum.
    """
    if isinstance(value, bool):
        return float(value)
    if marks and isinstance(value, str) and value in _MARKS:
        return _MARKS[value]
    found = number(value)
    if found is None:
        kinds = {list: "a list", dict: "an object", str: "a string", type(None): "null"}
        shape = kinds.get(type(value), "not a number")
        text = f" ({quoted(value)})" if isinstance(value, str) else ""
        raise InvalidScoreError(f"{shape}{text}")
    if abs(found) > GREATEST_SCORE:
        raise InvalidScoreError(f"{found:g}, which is out of range")
    return None if math.isnan(found) else found


def known_version(value: object) -> str | None:
    """Return a tool's version if it is a short line of ASCII text."""
    fits = isinstance(value, str) and 0 < len(value) <= _VERSION_LIMIT
    return str(value) if fits and str(value).isascii() and str(value).isprintable() else None


def moment(seconds: object) -> datetime | None:
    """Return the time at this many seconds after 1970 began, None if there is no such time."""
    found = number(seconds)
    if found is None or not math.isfinite(found):
        return None
    try:
        return datetime.fromtimestamp(found, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def moment_of(text: object) -> datetime | None:
    """Return an ISO 8601 time in UTC, None if the text is not a time or lacks an offset."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (OverflowError, ValueError):
        return None


def later(start: datetime, seconds: object) -> datetime | None:
    """Return the time `seconds` after `start`; some tools write the number as a string."""
    try:
        return start + timedelta(seconds=float(str(seconds)))
    except (OverflowError, ValueError):
        return None


def settings_of(values: Mapping[str, object], file: str) -> dict[str, Json]:
    """Return a tool's settings, with a reference to the file for those that cannot be recorded."""
    return {
        name: _recordable(value, file) for name, value in values.items() if value not in (None, "")
    }


def _recordable(value: object, file: str) -> Json:
    reference = f"see {file}"
    document = cast("Json", value)
    try:
        canonical = rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError):
        return reference
    fits = len(canonical) <= _SETTING_LIMIT_BYTES and b"\\u0000" not in canonical
    return document if fits and _is_shallow(value) else reference


def _is_shallow(value: object, levels: int = 8) -> bool:
    if not isinstance(value, dict | list):
        return True
    below = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(each, levels - 1) for each in below)


def names(known: Iterable[str]) -> str:
    """Return untrusted names as a list that is safe in messages."""
    listed = [quoted(name) for name in known]
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return (", ".join(listed[:_NAMES_SHOWN]) or "none") + more


def mapping_faults(
    suite: Suite, *, persona: str | None, locale: str | None, metrics: Iterable[str]
) -> Iterator[Fault]:
    """Yield a fault for each name in a mapping that the suite does not have."""
    named = (
        ("persona", [persona], suite.personas),
        ("locale", [locale], suite.locales),
        ("metric", sorted(set(metrics)), [metric.name for metric in suite.metrics]),
    )
    for kind, wanted, known in named:
        for name in wanted:
            if name is not None and name not in known:
                message = f"{suite} has no {kind} {quoted(name)}; it has {', '.join(known)}."
                yield Fault(f"unknown-{kind}", message)
