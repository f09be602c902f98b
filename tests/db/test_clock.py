"""The estimate of the registry's time between measurements."""

from datetime import timedelta

import pytest

from app.db import clock
from app.db.clock import Clock


@pytest.fixture
def passed(monkeypatch):
    """The seconds that pass from one reading of the monotonic clock to the next."""
    now, steps = [0.0], [0.0]

    def elapsed():
        now[0] += steps[0]
        return now[0]

    monkeypatch.setattr(clock, "elapsed", elapsed)
    return steps


@pytest.mark.parametrize(("duration_s", "taken"), [(1.0, True), (1.1, False)])
def test_a_slow_answer_replaces_no_earlier_measurement(sessions, time, passed, duration_s, taken):
    estimate = Clock()
    begun = time.now()
    time.stop_at(begun)
    estimate.measure(sessions)
    time.stop_at(begun + timedelta(hours=1))
    passed[0] = duration_s
    estimate.measure(sessions)
    assert (estimate.now() - begun > timedelta(minutes=59)) is taken


def test_a_first_slow_answer_is_better_than_none(sessions, time, passed):
    time.stop_at(time.now())
    passed[0] = 30.0
    estimate = Clock()
    estimate.measure(sessions)
    assert estimate.is_measured
