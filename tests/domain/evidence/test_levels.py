"""Levels: how much the registry knows of an evaluation, and why it may be little."""

from datetime import timedelta

import pytest

from app.domain.evidence.levels import CLOCK_SKEW, Level, level_of
from tests.support.evidence import NOW

SECOND = timedelta(seconds=1)


def the_level(*, has_samples=True, sealed=False, finished_at=NOW, pushed_at=NOW):
    return level_of(
        has_samples=has_samples, sealed=sealed, finished_at=finished_at, pushed_at=pushed_at
    )


@pytest.mark.parametrize("sealed", [True, False])
def test_aggregates_are_reported_on_any_suite(sealed):
    level, reason = the_level(has_samples=False, sealed=sealed)
    assert (level, reason) == (Level.REPORTED, "Only aggregates were reported.")


def test_samples_are_recomputed_on_an_open_suite_and_sealed_on_a_sealed_one():
    assert the_level() == (Level.RECOMPUTED, None)
    assert the_level(sealed=True) == (Level.SEALED, None)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_run_that_ended_before_the_content_was_pushed_is_reported(sealed):
    early = NOW - CLOCK_SKEW - SECOND
    level, reason = the_level(sealed=sealed, finished_at=early)
    assert level is Level.REPORTED
    assert reason == "The run finished before the content was first pushed, at 2026-03-01."
    assert the_level(finished_at=NOW - CLOCK_SKEW)[0] is Level.RECOMPUTED


def test_a_base_model_exists_before_it_is_registered():
    assert the_level(pushed_at=None, finished_at=NOW - timedelta(days=900))[1] is None
