"""Values as text: times, sizes, numbers and lists."""

from datetime import UTC, datetime, timedelta

import pytest

from app.db.overview import Count
from app.pages.presentation import formatting

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (timedelta(0), "just now"),
        (timedelta(minutes=-1), "1 minute ago"),
        (timedelta(hours=-5), "5 hours ago"),
        (timedelta(days=-400), "1 year ago"),
        (timedelta(days=3), "in 3 days"),
    ],
)
def test_times_are_relative_to_now(delta, words):
    assert formatting.relative(NOW + delta, NOW) == words


def test_values_are_formatted_for_people():
    assert formatting.size(311) == "311 B"
    assert formatting.size(3 << 20) == "3.0 MiB"
    assert formatting.size(5 << 40) == "5120.0 GiB"
    assert formatting.number(31.2345) == "31.23"
    assert formatting.number(-0.01, signed=True) == "\N{MINUS SIGN}0.010"
    assert formatting.count(1, "entry") == "1 entry"
    assert formatting.count(2, "entry") == "2 entries"
    assert formatting.counted(Count(1234)) == "1,234"
    assert formatting.counted(Count(10_000, more=True)) == "10,000+"
    assert formatting.exact_span(timedelta(hours=36)) == "36 hours"
    assert formatting.exact_span(timedelta(0)) == "0 seconds"
    assert formatting.listed(["a"]) == "a"
    assert formatting.listed(["a", "b", "c"], "or") == "a, b or c"
