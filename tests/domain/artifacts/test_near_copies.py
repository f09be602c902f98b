"""Distances of contents from their norms and sketches, and the choices of the formula."""

import math
from collections import Counter
from itertools import combinations, product
from random import Random

import pytest

from app.domain.artifacts import sketch
from app.domain.artifacts.content import norm
from app.domain.artifacts.near_copies import (
    SLACK,
    STANDARD_ERROR,
    ContentSketch,
    are_near,
    content_sketch,
    norm_bounds,
    relative_distance,
    widest_direction,
)
from app.domain.artifacts.prefix import TensorScan


def a_sketch(norm=10.0, tokens=20, turned=0.0):
    """Return a sketch whose direction differs from that of another one by `turned`."""
    angle = 2 * math.asin(turned / 2)
    return ContentSketch(tokens, norm, (math.cos(angle), math.sin(angle)))


def test_equal_sketches_have_no_distance():
    assert relative_distance(a_sketch(), a_sketch()) == 0
    assert are_near(a_sketch(), a_sketch(), 0)


def test_the_distance_of_a_scaled_copy_is_exact():
    assert relative_distance(a_sketch(10), a_sketch(10.01)) == pytest.approx(0.01 / 10.01)


def test_the_distance_of_contents_of_one_norm_is_that_of_their_directions():
    assert relative_distance(a_sketch(), a_sketch(turned=0.2)) == pytest.approx(0.2)


@pytest.mark.parametrize(("one", "other", "turned"), [(10, 10, 0.3), (10, 7, 0.3), (2, 9, 1.1)])
def test_the_distance_is_that_of_the_triangle_and_the_same_both_ways(one, other, turned):
    a, b = a_sketch(one), a_sketch(other, turned=turned)
    third = math.dist([one * x for x in a.direction], [other * x for x in b.direction])

    assert relative_distance(a, b) == pytest.approx(third / max(one, other))
    assert relative_distance(a, b) == relative_distance(b, a)


def test_contents_of_different_numbers_of_virtual_tokens_are_never_near():
    assert relative_distance(a_sketch(tokens=20), a_sketch(tokens=21)) == math.inf
    assert not are_near(a_sketch(tokens=20), a_sketch(tokens=21), 0.99)


def test_only_the_estimated_part_of_a_distance_is_given_slack():
    assert are_near(a_sketch(), a_sketch(turned=0.0199), 0.01)
    assert not are_near(a_sketch(), a_sketch(turned=0.0201), 0.01)
    assert are_near(a_sketch(10), a_sketch(10.1), 0.01)
    assert not are_near(a_sketch(10), a_sketch(10.11), 0.01)


@pytest.mark.parametrize("within", [0.001, 0.01, 0.1])
def test_no_near_content_is_outside_of_the_bounds_of_a_search(within):
    least, largest = norm_bounds(10, within)
    widest = widest_direction(within)

    for length in (least, 10, largest):
        assert are_near(a_sketch(10), a_sketch(length), within * (1 + 1e-9))
    assert not are_near(a_sketch(10), a_sketch(least * (1 - 1e-6)), within)
    assert not are_near(a_sketch(10), a_sketch(largest * (1 + 1e-6)), within)
    for length in (least, 10, largest):
        assert not are_near(a_sketch(10), a_sketch(length, turned=widest * 1.0001), within)


def test_the_direction_of_a_content_is_its_sketch_divided_by_its_norm():
    scan = TensorScan(0, None, (3.0,), (4.0,), "sha256:", tuple(range(64)))

    found = content_sketch(scan, 7)

    assert (found.virtual_tokens, found.norm) == (7, norm(scan))
    assert list(found.direction) == pytest.approx([each / 5 for each in range(64)])


# The error of the estimate


def estimate(values, choices):
    """Return the sketched share of the square of a difference, which is 1 on average."""
    buckets = [0.0] * sketch.BUCKETS
    for value, choice in zip(values, choices, strict=True):
        buckets[choice % 64] += -value if choice & 64 else value
    return sum(each**2 for each in buckets) / sum(value**2 for value in values)


def probability_beyond_slack(size):
    """Return the exact probability that a difference in `size` equal elements is overestimated.

    Elements that lie in one column collide twice as often as others; all are taken to do so.
    """
    weight = {1: 2 / 128, -1: 2 / 128}
    total = 0.0
    for together in range(2, size + 1):
        # `together` elements are in one bucket; the others are in buckets of their own.
        for signs in product((1, -1), repeat=together - 1):
            share = ((1 + sum(signs)) ** 2 + size - together) / size
            if share > SLACK**2 + 1e-9:
                ways = math.comb(size, together)
                total += ways * math.prod(weight[sign] for sign in signs)
    return total


@pytest.mark.parametrize("size", range(2, 14))
def test_few_equal_elements_exceed_the_slack_with_a_probability_below_one_in_a_million(size):
    assert probability_beyond_slack(size) < 1e-6


def test_a_spread_difference_has_the_stated_error():
    random = Random(3)
    choices = [sketch.column_bytes(group) for group in range(40)]
    distances = []
    for each in choices:
        values = [random.gauss(0, 1) for _ in each]
        distances.append(math.sqrt(estimate(values, each)))

    mean = sum(distances) / len(distances)
    error = math.sqrt(sum((each - mean) ** 2 for each in distances) / (len(distances) - 1))
    assert mean == pytest.approx(1, abs=4 * STANDARD_ERROR / math.sqrt(len(distances)))
    assert error == pytest.approx(STANDARD_ERROR, rel=0.45)


# The formula


def test_the_choices_of_the_formula_never_change():
    digests = [
        sketch.element_bytes(4).hex(),
        sketch.window_bytes(4).hex(),
        sketch.column_bytes(0)[:4].hex(),
        sketch.column_bytes(63)[:4].hex(),
    ]
    assert digests == ["257680ce", "00c5dbbe", "0adb2dcb", "ef77d59c"]


def test_every_bucket_group_and_sign_is_chosen_about_equally_often():
    columns = Counter(byte % 128 for byte in sketch.column_bytes(5))
    assert len(columns) == 128
    assert max(columns.values()) < 2 * sketch.COLUMNS / 128
    signs = sum(byte & 1 for byte in sketch.element_bytes(10_000))
    assert signs == pytest.approx(5_000, abs=200)


def test_groups_choose_independently():
    for one, other in combinations(range(4), 2):
        pairs = zip(sketch.column_bytes(one), sketch.column_bytes(other), strict=True)
        equal = sum(a % 128 == b % 128 for a, b in pairs)
        assert equal < 3 * sketch.COLUMNS / 128


@pytest.mark.parametrize(("width", "segments"), [(1, 32_744), (1024, 31), (40_000, 1)])
def test_a_window_is_a_whole_number_of_segments(width, segments):
    assert sketch.segments_per_window(width) == segments
