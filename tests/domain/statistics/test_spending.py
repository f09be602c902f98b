"""The division of a level: no number of looks or attempts spends more than there is."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statistics.levels import level
from app.domain.statistics.spending import attempt_alpha, look_alpha

ALPHAS = st.floats(1e-6, 0.49)
MANY = 2000


def test_the_first_look_has_four_fifths():
    assert look_alpha(0.05, 1) == pytest.approx(0.04)
    assert look_alpha(0.05, 2) == pytest.approx(0.01 * 6 / math.pi**2)
    assert look_alpha(0.05, 4) == pytest.approx(0.01 * 6 / math.pi**2 / 9)


def test_the_kth_attempt_has_a_share_of_one_over_k_times_k_plus_1():
    assert [attempt_alpha(0.06, k) for k in (1, 2, 3)] == pytest.approx([0.03, 0.01, 0.005])


@given(alpha=ALPHAS)
def test_all_looks_together_spend_no_more_than_alpha(alpha):
    spent = math.fsum(look_alpha(alpha, look) for look in range(1, MANY + 1))
    # From k = MANY on, the sum of 1 / k^2 is less than 1 / (MANY - 1).
    rest = 0.2 * alpha * 6 / math.pi**2 / (MANY - 1)

    assert spent < alpha
    assert spent + rest == pytest.approx(alpha, rel=1e-6)


@given(alpha=ALPHAS)
def test_all_attempts_together_spend_no_more_than_alpha(alpha):
    spent = sum(Fraction(attempt_alpha(alpha, attempt)) for attempt in range(1, 101))

    assert spent < alpha
    # The sum telescopes: the attempts after the k-th share alpha / (k + 1).
    assert float(spent) + alpha / 101 == pytest.approx(alpha)


@given(alpha=ALPHAS, number=st.integers(1, 1000))
def test_every_part_is_positive_and_no_later_one_is_larger(alpha, number):
    assert look_alpha(alpha, number) >= look_alpha(alpha, number + 1) > 0
    assert attempt_alpha(alpha, number) > attempt_alpha(alpha, number + 1) > 0


@pytest.mark.parametrize("look", [1, 2, 10, 1000])
def test_the_level_of_a_look_survives_its_way_through_a_confidence(look):
    alpha = look_alpha(0.05, look)
    assert level(1 - alpha) == pytest.approx(alpha, rel=1e-7)


@pytest.mark.parametrize("divide", [look_alpha, attempt_alpha])
@pytest.mark.parametrize(
    ("alpha", "number"), [(0.05, 0), (0.05, -1), (0, 1), (0.5, 1), (math.nan, 1), (-0.05, 2)]
)
def test_nonsense_is_refused_with_a_sentence(divide, alpha, number):
    with pytest.raises(ValueError, match=r"\.$"):
        divide(alpha, number)
