"""The transitions of a promotion: once from pending to a final state, and never again."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTransitionError
from app.domain.governance.lifecycle import (
    TRANSITIONS,
    GenerationKind,
    PromotionState,
    require_move,
)


def allowed(before, after):
    try:
        require_move(before, after)
    except InvalidTransitionError:
        return False
    return True


@pytest.mark.parametrize(("before", "after"), list(product(PromotionState, repeat=2)))
def test_only_a_pending_promotion_moves_and_only_to_a_final_state(before, after):
    pending = PromotionState.PENDING

    assert allowed(before, after) == (before is pending and after is not pending)


@given(st.lists(st.sampled_from(PromotionState)))
def test_a_promotion_ends_at_most_once(attempts):
    state, moves = PromotionState.PENDING, 0
    for attempt in attempts:
        if allowed(state, attempt):
            state, moves = attempt, moves + 1

    ends = [attempt for attempt in attempts if attempt is not PromotionState.PENDING]
    assert moves == min(len(ends), 1)
    assert state is (ends[0] if ends else PromotionState.PENDING)


def test_every_state_has_its_transitions():
    assert set(TRANSITIONS) == set(PromotionState)


def test_a_refused_transition_names_the_state_of_the_promotion():
    with pytest.raises(InvalidTransitionError) as refused:
        require_move(PromotionState.REJECTED, PromotionState.EXECUTED)

    assert refused.value.detail == (
        "The promotion is rejected and can no longer become executed; request a new one."
    )
    assert refused.value.members == {"state": "rejected"}


def test_the_kinds_of_a_generation_are_the_words_of_the_contract():
    assert {str(kind) for kind in GenerationKind} == {
        "promotion",
        "rollback",
        "break-glass",
        "revocation",
    }
