"""Allocations: how traffic is split, and that a unit keeps its version."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.governance.allocation import (
    ALL_TRAFFIC,
    Share,
    allocation_faults,
    growing,
    heaviest,
    share_of,
    without,
)

SALT = "channel"
UNITS = st.text(min_size=1, max_size=20)


def split(*weights):
    """Return shares of versions 1, 2, 3 ... with these weights."""
    return tuple(Share(number, weight) for number, weight in enumerate(weights, 1))


@st.composite
def splits(draw, fewest=1):
    """Valid allocations: cut points of the whole traffic, under version numbers in any order."""
    count = draw(st.integers(fewest, 6))
    cuts = draw(st.sets(st.integers(1, ALL_TRAFFIC - 1), min_size=count - 1, max_size=count - 1))
    ends = [0, *sorted(cuts), ALL_TRAFFIC]
    numbers = draw(st.permutations(range(1, count + 1)))
    weights = [high - low for low, high in pairwise(ends)]
    return tuple(Share(number, weight) for number, weight in zip(numbers, weights, strict=True))


@pytest.mark.parametrize(
    ("shares", "codes"),
    [
        pytest.param(split(10_000), [], id="one-version"),
        pytest.param(split(9_999, 1), [], id="one-basis-point"),
        pytest.param((), ["weights-do-not-sum"], id="empty"),
        pytest.param(split(9_999), ["weights-do-not-sum"], id="too-little"),
        pytest.param(split(10_000, 1), ["weights-do-not-sum"], id="too-much"),
        pytest.param(split(10_000, 0), ["weight-not-positive"], id="a-zero"),
        pytest.param(split(10_001, -1), ["weight-not-positive"], id="a-negative"),
        pytest.param((Share(1, 5_000),) * 2, ["version-repeated"], id="a-version-twice"),
        pytest.param(
            (Share(1, 0), Share(1, -1)),
            ["weights-do-not-sum", *["weight-not-positive"] * 2, "version-repeated"],
            id="everything-at-once",
        ),
    ],
)
def test_every_fault_of_an_allocation_is_reported(shares, codes):
    assert [fault.code for fault in allocation_faults(shares)] == codes


def test_a_fault_names_the_actual_and_the_required_sum():
    (fault,) = allocation_faults(split(9_000, 500))

    assert fault.message == "The weights sum to 9500 basis points; they must sum to 10000."


@given(splits())
def test_a_split_of_all_traffic_has_no_fault(shares):
    assert allocation_faults(shares) == ()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param((), split(10_000), split(10_000), id="new"),
        pytest.param(split(10_000), split(10_000), (), id="unchanged"),
        pytest.param(split(9_000, 1_000), split(8_000, 2_000), (Share(2, 2_000),), id="larger"),
        pytest.param(split(10_000), split(9_000, 1_000), (Share(2, 1_000),), id="beside-another"),
        pytest.param(split(9_000, 1_000), split(10_000), split(10_000), id="the-rest"),
    ],
)
def test_growing_shares_are_those_that_are_new_or_larger(before, after, expected):
    assert growing(before, after) == expected


@given(splits(), splits())
def test_some_share_grows_in_every_change(before, after):
    assert bool(growing(before, after)) == (set(before) != set(after))


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        pytest.param((), None, id="none"),
        pytest.param(split(1_000, 9_000), Share(2, 9_000), id="the-most-traffic"),
        pytest.param(split(5_000, 5_000), Share(1, 5_000), id="a-tie-goes-to-the-older"),
        pytest.param(split(5_000, 5_000)[::-1], Share(1, 5_000), id="a-tie-in-other-order"),
    ],
)
def test_the_heaviest_share_is_the_incumbent(shares, expected):
    assert heaviest(shares) == expected


@given(splits(), st.integers(1, 7))
def test_without_a_version_the_others_are_a_split_of_all_traffic(shares, version):
    left = without(shares, {version})

    assert {share.version for share in left} == {share.version for share in shares} - {version}
    assert not left or allocation_faults(left) == ()


@given(splits(fewest=2))
def test_without_a_version_the_others_grow_in_proportion_to_within_one_basis_point(shares):
    gone, *kept = shares

    left = {share.version: share.weight for share in without(shares, {gone.version})}

    for share in kept:
        exact = Fraction(share.weight * ALL_TRAFFIC, ALL_TRAFFIC - gone.weight)
        assert left[share.version] in (math.floor(exact), math.ceil(exact))
        assert left[share.version] >= share.weight


def test_without_its_only_version_an_allocation_is_empty():
    assert without(split(10_000), {1}) == ()


def test_rounding_goes_to_the_largest_remainder():
    # Exactly 2222.22, 3333.33 and 4444.44: one basis point is left over.
    left = without(split(1_000, 2_000, 3_000, 4_000), {1})

    assert left == (Share(2, 2_222), Share(3, 3_333), Share(4, 4_445))


@given(splits(), UNITS, st.randoms())
def test_the_order_of_shares_does_not_change_the_version_of_a_unit(shares, unit, random):
    shuffled = random.sample(shares, len(shares))

    chosen = share_of(unit, shares, salt=SALT)

    assert chosen in shares
    assert share_of(unit, shuffled, salt=SALT) == chosen


@given(splits())
def test_without_a_unit_the_heaviest_share_serves(shares):
    assert share_of(None, shares, salt=SALT) == heaviest(shares)


def test_an_empty_allocation_serves_no_unit():
    assert share_of("user-42", (), salt=SALT) is None
    assert share_of(None, (), salt=SALT) is None


def test_the_empty_string_is_a_unit_like_any_other():
    chosen = {share_of("", split(1, 9_999), salt=str(salt)).version for salt in range(20_000)}

    assert chosen == {1, 2}


@given(shares=splits(fewest=2), part=st.integers(1, 20), units=st.lists(UNITS, max_size=20))
def test_raising_a_weight_with_the_others_in_proportion_moves_units_only_towards_it(
    shares, part, units
):
    """Weights are not rounded here: any positive numbers are proportions."""
    raised, *others = shares
    after = (Share(raised.version, raised.weight * part + 1), *_scaled(others, part))
    for unit in units:
        old = share_of(unit, shares, salt=SALT).version
        new = share_of(unit, after, salt=SALT).version
        assert new in (old, raised.version)


def _scaled(shares, factor):
    return tuple(Share(share.version, share.weight * factor) for share in shares)


@given(shares=splits(fewest=2), unit=UNITS)
def test_when_a_version_goes_only_its_own_units_move(shares, unit):
    gone, *others = shares
    old = share_of(unit, shares, salt=SALT).version
    assume(old != gone.version)

    assert share_of(unit, others, salt=SALT).version == old


@pytest.mark.parametrize("weights", [(9_900, 100), (7_000, 2_000, 1_000), (9_999, 1)], ids=str)
def test_traffic_follows_the_weights(weights):
    """100,000 units are a binomial draw; six standard deviations are exceeded once in 5e8 runs."""
    units = 100_000
    shares = split(*weights)

    served = Counter(share_of(f"user-{n}", shares, salt=SALT).version for n in range(units))

    for share in shares:
        chance = share.weight / ALL_TRAFFIC
        deviation = math.sqrt(units * chance * (1 - chance))
        assert served[share.version] == pytest.approx(units * chance, abs=6 * deviation)


def test_channels_draw_independently():
    """A unit with the canary on one channel is no likelier to get the canary on another."""
    shares = split(9_000, 1_000)
    units = [f"user-{n}" for n in range(20_000)]

    canaries = [
        {unit for unit in units if share_of(unit, shares, salt=salt).version == 2}
        for salt in ("first", "second")
    ]

    expected = len(units) * 0.1 * 0.1
    both = len(canaries[0] & canaries[1])
    assert both == pytest.approx(expected, abs=6 * math.sqrt(expected))
