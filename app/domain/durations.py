"""Durations as people and machines write them: `7d` and `P7D`; a bare number has no unit."""

import re
from datetime import timedelta
from typing import Final

from app.domain.strict_json import quoted

# Nine digits of weeks already exceed what a timedelta holds.
SHORT_PATTERN: Final = r"^[0-9]{1,9}[wdhms]$"
ISO_PATTERN: Final = (
    r"^P(?:[0-9]{1,9}W|[0-9]{1,9}D|(?:[0-9]{1,9}D)?T(?:"
    r"[0-9]{1,9}H(?:[0-9]{1,9}M)?(?:[0-9]{1,9}(?:\.[0-9]{1,6})?S)?|"
    r"[0-9]{1,9}M(?:[0-9]{1,9}(?:\.[0-9]{1,6})?S)?|"
    r"[0-9]{1,9}(?:\.[0-9]{1,6})?S))$"
)
_UNITS: Final = {"W": "weeks", "D": "days", "H": "hours", "M": "minutes", "S": "seconds"}
_SHORT: Final = re.compile(SHORT_PATTERN)
_ISO: Final = re.compile(ISO_PATTERN)
_PART: Final = re.compile(r"([0-9.]+)([WDHMS])")
_BARE: Final = re.compile(r"[0-9]{1,9}")
_SIGNED: Final = re.compile(r"-[0-9P]")
# Years and months have no fixed length. In `PT1M` the M stands for minutes.
_CALENDAR: Final = re.compile(r"P[0-9]+[YM]|P[0-9]+W[0-9]+M")
_FORMS: Final = (
    "write a number with a unit (7d, 12h, 30m, 45s) or an ISO 8601 duration (P7D, PT30S)"
)


class DurationError(ValueError):
    """A text is no duration; the message says what would work."""


def duration_in(text: str) -> timedelta:
    """Return the duration that `text` gives: a number with a unit, or ISO 8601.

    Raises:
        DurationError: There is no unit, a sign, years or months, white space, more than six
            decimals, or more time than a timedelta holds.
    """
    if not (_SHORT.fullmatch(text) or _ISO.fullmatch(text)):
        raise DurationError(_fault(text))
    parts = {_UNITS[unit]: number for number, unit in _PART.findall(text.upper())}
    # Seconds are split as text: as a binary fraction they would be rounded.
    whole, _, decimals = parts.pop("seconds", "0").partition(".")
    try:
        return timedelta(
            seconds=int(whole),
            microseconds=int(decimals.ljust(6, "0")),
            **{unit: int(number) for unit, number in parts.items()},
        )
    except OverflowError as error:
        raise DurationError(f"{quoted(text)} is longer than any duration here") from error


def iso_8601(length: timedelta) -> str:
    """Return a duration that is not negative as ISO 8601, in days and smaller units."""
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    decimals = f".{length.microseconds:06}".rstrip("0") if length.microseconds else ""
    date = f"{length.days}D" if length.days else ""
    time = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M")) if number)
    if seconds or decimals:
        time += f"{seconds}{decimals}S"
    if not date and not time:
        return "PT0S"
    return f"P{date}{'T' if time else ''}{time}"


def _fault(text: str) -> str:
    if _BARE.fullmatch(text):
        return f"{text} has no unit: write {text}s, {text}m, {text}h or {text}d"
    if _SIGNED.match(text):
        return f"{quoted(text)} is negative: {_FORMS} without a sign"
    if _CALENDAR.match(text):
        return f"{quoted(text)} counts years or months, which vary in length: count days (P30D)"
    return f"{quoted(text)} is not a duration: {_FORMS}"
