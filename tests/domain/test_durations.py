"""Durations: every accepted form, every refused one, and the form in which they are returned."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.domain.durations import DurationError, duration_in, iso_8601

PYDANTIC = TypeAdapter(timedelta)
TO_A_YEAR = st.timedeltas(timedelta(0), timedelta(days=364))
ANY = st.timedeltas(timedelta(0), timedelta.max)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("45s", timedelta(seconds=45)),
        ("2w", timedelta(weeks=2)),
        ("0s", timedelta(0)),
        ("P7D", timedelta(days=7)),
        ("P1W", timedelta(weeks=1)),
        ("PT30S", timedelta(seconds=30)),
        ("PT1M", timedelta(minutes=1)),
        ("PT1H30M", timedelta(minutes=90)),
        ("PT1H5S", timedelta(seconds=3605)),
        ("P1DT2H3M4.000005S", timedelta(1, 7384, 5)),
        ("PT0.1S", timedelta(milliseconds=100)),
        ("PT0S", timedelta(0)),
        ("P999999999D", timedelta(days=999_999_999)),
    ],
)
def test_a_number_with_a_unit_and_iso_8601_are_read(text, length):
    assert duration_in(text) == length


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("7", "7 has no unit: write 7s, 7m, 7h or 7d"),
        ("0", "0 has no unit"),
        ("-7d", "is negative"),
        ("-P7D", "is negative"),
        ("-7", "is negative"),
        ("P1Y", "years or months, which vary in length"),
        ("P1M", "years or months, which vary in length"),
        ("P1Y2M3DT4H", "years or months, which vary in length"),
        ("P6M1D", "years or months, which vary in length"),
        ("999999999w", "longer than any duration"),
        ("P999999999DT24H", "longer than any duration"),
        ("PT0.1234567S", "is not a duration"),
        ("1.5h", "is not a duration"),
        ("PT1.5H", "is not a duration"),
        ("P0.5D", "is not a duration"),
        ("PT0,5S", "is not a duration"),
        ("1e3s", "is not a duration"),
        ("7.0", "is not a duration"),
        ("9999999999d", "is not a duration"),
        ("+7d", "is not a duration"),
        ("7 d", "is not a duration"),
        (" 7d", "is not a duration"),
        ("7d\n", "is not a duration"),
        ("7", "has no unit"),
        ("\u0667d", "is not a duration"),
        ("\uff17d", "is not a duration"),
        ("7\u212a", "is not a duration"),
        ("7D", "is not a duration"),
        ("p7d", "is not a duration"),
        ("7days", "is not a duration"),
        ("1 day", "is not a duration"),
        ("1h30m", "is not a duration"),
        ("500ms", "is not a duration"),
        ("12:30", "is not a duration"),
        ("P", "is not a duration"),
        ("PT", "is not a duration"),
        ("P1DT", "is not a duration"),
        ("PT1H1H", "is not a duration"),
        ("PT1S1H", "is not a duration"),
        ("P1W1D", "is not a duration"),
        ("PT1D", "is not a duration"),
        ("P7", "is not a duration"),
        ("d", "is not a duration"),
        ("", "is not a duration"),
        ("nan", "is not a duration"),
        ("P" + "9" * 5000 + "D", "is not a duration"),
    ],
)
def test_any_other_text_is_refused_with_a_form_that_works(text, sentence):
    with pytest.raises(DurationError, match=sentence) as refused:
        duration_in(text)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isascii()


@given(TO_A_YEAR)
def test_a_duration_is_returned_in_the_form_of_pydantic(length):
    assert iso_8601(length) == PYDANTIC.dump_python(length, mode="json")


@given(ANY)
def test_a_returned_duration_is_read_as_the_same(length):
    assert duration_in(iso_8601(length)) == length
