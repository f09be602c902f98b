"""Values formatted for people: times, sizes, shares, digests, numbers."""

from datetime import datetime, timedelta
from typing import Final

from app.db.overview import Count
from app.domain.naming import rfc3339

_STEPS: Final = (
    (timedelta(days=365), "year"),
    (timedelta(days=30), "month"),
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)


def span(length: timedelta) -> str:
    """Return a length of time in its largest unit: `3 days`."""
    for step, word in _STEPS:
        if length >= step:
            count = length // step
            return f"{count} {word}{'' if count == 1 else 's'}"
    return "moments"


def exact_span(length: timedelta) -> str:
    """Return a length of time without rounding: `30 days`, `36 hours`."""
    for step, word in _STEPS[2:]:
        if length and length % step == timedelta(0):
            return count(length // step, word)
    return f"{length.total_seconds():g} seconds"


def relative(moment: datetime, now: datetime) -> str:
    """Return a time relative to now: `3 days ago`, `in 2 hours`."""
    if moment <= now:
        ago = span(now - moment)
        return "just now" if ago == "moments" else f"{ago} ago"
    return f"in {span(moment - now)}"


def utc(moment: datetime) -> str:
    return f"{rfc3339(moment)[:16].replace('T', ' ')} UTC"


def size(size_bytes: int) -> str:
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004 - binary units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def percent(basis_points: int) -> str:
    return f"{basis_points / 100:g}\N{NO-BREAK SPACE}%"


def short(digest: str) -> str:
    """Return the first digits of a digest, enough to compare by eye."""
    return digest.removeprefix("sha256:")[:12]


def number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    plain = f"{abs(value):.3f}" if abs(value) < 10 else f"{abs(value):.4g}"  # noqa: PLR2004
    sign = "\N{MINUS SIGN}" if value < 0 else "+" if signed else ""
    return sign + plain


def count(amount: int, word: str) -> str:
    many = f"{word[:-1]}ies" if word.endswith("ry") else f"{word}s"
    return f"{amount:,} {word if amount == 1 else many}"


def counted(found: Count) -> str:
    """Return a count: `12,345`, or `10,000+` where counting stopped."""
    return f"{found.number:,}{'+' if found.more else ''}"


def listed(words: list[str], last: str = "and") -> str:
    """Return words as a list in a sentence: `a, b and c`."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
