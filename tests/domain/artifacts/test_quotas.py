"""Whether an addition fits into a quota, on both sides of every limit."""

import pytest

from app.domain.artifacts.quotas import (
    MOST_ANNOUNCED,
    Announced,
    NamespaceQuota,
    OwnLimits,
    QuotaLimits,
    Stored,
    require_fit,
    require_fit_announced,
)
from app.domain.errors import QuotaExceededError

DEFAULTS = QuotaLimits(stored_bytes=100, versions=10, requests=5)


def a_quota(used_bytes=0, used_versions=0, **own):
    return NamespaceQuota("acme", Stored(used_bytes, used_versions), OwnLimits(**own))


@pytest.mark.parametrize(
    ("quota", "added"),
    [
        pytest.param(a_quota(), Stored(100, 10), id="the-limits-themselves-fit"),
        pytest.param(a_quota(99, 9), Stored(1, 1), id="the-last-of-each"),
        pytest.param(a_quota(500, 50), Stored(), id="nothing-fits-above-the-limits"),
        pytest.param(a_quota(0, 50), Stored(100), id="bytes-alone-need-no-version"),
        pytest.param(a_quota(100, stored_bytes=200), Stored(100), id="an-own-limit-is-higher"),
    ],
)
def test_an_addition_fits_up_to_the_limit(quota, added):
    require_fit(quota, added, DEFAULTS)


@pytest.mark.parametrize(
    ("quota", "added", "passed"),
    [
        pytest.param(a_quota(100), Stored(1), ["stored_bytes"], id="one-byte-more"),
        pytest.param(a_quota(0, 10), Stored(1, 1), ["versions"], id="one-version-more"),
        pytest.param(a_quota(), Stored(101, 11), ["stored_bytes", "versions"], id="both"),
        pytest.param(a_quota(5, stored_bytes=4), Stored(1), ["stored_bytes"], id="below-the-use"),
        pytest.param(a_quota(versions=1), Stored(1, 2), ["versions"], id="own-limit-of-versions"),
    ],
)
def test_a_refusal_names_every_limit_that_would_be_passed(quota, added, passed):
    with pytest.raises(QuotaExceededError) as refused:
        require_fit(quota, added, DEFAULTS)
    assert [each["resource"] for each in refused.value.members["exceeded"]] == passed


def test_a_refusal_has_the_numbers_behind_it():
    with pytest.raises(QuotaExceededError, match="stored_bytes: 60 of 100 used and 41 requested"):
        require_fit(a_quota(60), Stored(41), DEFAULTS)


@pytest.mark.parametrize(
    ("announced", "added", "passed"),
    [
        pytest.param(Announced(3, 90), Announced(1, 11), ["announced_bytes"], id="bytes"),
        pytest.param(
            Announced(MOST_ANNOUNCED, 0), Announced(1, 1), ["announced_uploads"], id="number"
        ),
        pytest.param(Announced(0, 0), Announced(1, 101), ["stored_bytes"], id="never-fits"),
    ],
)
def test_announced_uploads_are_bounded(announced, added, passed):
    with pytest.raises(QuotaExceededError) as refused:
        require_fit_announced(a_quota(), announced, added, DEFAULTS)
    assert [each["resource"] for each in refused.value.members["exceeded"]] == passed


def test_announced_uploads_do_not_count_as_stored():
    """Most of them are pushed, and would count twice."""
    require_fit_announced(
        a_quota(60), Announced(MOST_ANNOUNCED - 1, 60), Announced(1, 40), DEFAULTS
    )


@pytest.mark.parametrize("name", ["stored_bytes", "versions", "requests"])
def test_a_limit_of_its_own_replaces_one_default(name):
    limits = OwnLimits(**{name: 7}).over(DEFAULTS)
    assert getattr(limits, name) == 7
    assert {each for each in ("stored_bytes", "versions", "requests") if each != name} == {
        each
        for each in ("stored_bytes", "versions", "requests")
        if getattr(limits, each) == getattr(DEFAULTS, each)
    }
