"""The gate as a whole: the evidence that opens it, and the evidence that never does."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.evidence.evaluation import CellKey, EvidenceKind
from app.domain.governance.cell_runs import recorded_mean
from app.domain.governance.findings import Outcome
from app.domain.governance.gate import GateResult
from app.domain.governance.policies import Contributor, EvidenceDemand, Margins
from app.domain.statistics.distributions import binomial_upper_tail
from app.domain.statistics.proportions import misses_allowed
from tests.support.evidence import (
    AUTHOR,
    NOW,
    a_candidate,
    a_cell,
    a_key,
    a_policy_of,
    a_rule,
    a_version,
    an_evaluation,
    every_key,
    passes,
    the_decision,
)

TONE_POLICY = a_policy_of(a_rule())
TWO_RULES = a_policy_of(a_rule(), a_rule("toxicity", at_least=None, at_most=0.05))


def closing(decision):
    """Return the findings that keep the gate closed, without their messages and numbers."""
    return {
        (finding.version, finding.rule, finding.cell, finding.demand)
        for finding in decision.findings
        if finding.blocks
    }


# Evidence for two rules: mostly good, with some cells that are bad, too small or absent.
GOOD = dict.fromkeys(every_key(), a_cell(0.95, 200)) | dict.fromkeys(
    every_key("toxicity"), a_cell(0.0, 100)
)
ODD_CELLS = [None, None, a_cell(0.9, 100), a_cell(0.04), a_cell(1.0, 99), a_cell(math.nan)]
ODDITIES = [
    {},
    {},
    {"partial": True},
    {"kind": EvidenceKind.AGGREGATES},
    {"finished_at": NOW - timedelta(days=31)},
    {"evaluator_id": AUTHOR},
]


@st.composite
def evaluations(draw):
    odd = draw(st.dictionaries(st.sampled_from(list(GOOD)), st.sampled_from(ODD_CELLS), max_size=2))
    cells = {key: cell for key, cell in (GOOD | odd).items() if cell is not None}
    return an_evaluation(draw(st.uuids()), cells=cells, **draw(st.sampled_from(ODDITIES)))


evidence = st.lists(evaluations(), max_size=3).map(tuple)
policies = st.builds(
    lambda demand: replace(TWO_RULES, evidence=demand),
    st.builds(
        EvidenceDemand,
        max_age=st.sampled_from([None, timedelta(days=30)]),
        samples=st.sampled_from(["required", "optional"]),
        exclude_evaluators=st.sampled_from([(), (Contributor.AUTHOR, Contributor.OWNER)]),
    ),
)


def test_good_evidence_on_every_cell_opens_the_gate():
    assert passes(TONE_POLICY, an_evaluation())


def test_without_evidence_the_gate_is_closed():
    assert not passes(TONE_POLICY)


def test_without_a_candidate_the_gate_is_closed():
    decision = the_decision(TONE_POLICY)

    assert (decision.result, decision.findings) == (GateResult.FAILED, ())


def test_a_rule_that_only_compares_needs_evidence_even_where_there_is_no_incumbent():
    policy = a_policy_of(a_rule(at_least=None, no_worse_than=Margins(incumbent=0.02)))

    assert not passes(policy)
    assert passes(policy, an_evaluation())


def test_a_policy_whose_rules_have_no_cells_never_opens_the_gate():
    assert not passes(a_policy_of(a_rule(personas=())), an_evaluation())


@given(policy=policies, found=evidence, at=st.integers(0), key=st.sampled_from(every_key()))
def test_a_nan_never_passes(policy, found, at, key):
    assume(any(not each.partial for each in found))
    complete = [each for each in found if not each.partial]
    poisoned = complete[at % len(complete)]
    cells = {**poisoned.cells, key: a_cell(math.nan)}
    others = [each for each in found if each is not poisoned]

    assert not passes(policy, *others, replace(poisoned, cells=cells))


@given(policy=policies, found=evidence, key=st.sampled_from([*every_key(), *every_key("toxicity")]))
def test_an_unmeasured_cell_never_passes(policy, found, key):
    assert not passes(policy, *(without_cell(each, key) for each in found))


def without_cell(evaluation, key):
    return replace(evaluation, cells={k: cell for k, cell in evaluation.cells.items() if k != key})


@given(policy=policies, found=evidence, key=st.sampled_from(list(GOOD)))
def test_removing_a_cell_from_the_evidence_never_opens_the_gate(policy, found, key):
    """The cell is removed from every evaluation: losing evidence never helps."""
    assume(not passes(policy, *found))

    assert not passes(policy, *(without_cell(each, key) for each in found))


@given(policy=policies, found=evidence, at=st.integers(0, 2), key=st.sampled_from(list(GOOD)))
def test_removing_a_cell_from_one_evaluation_opens_the_gate_only_if_that_cell_failed(
    policy, found, at, key
):
    assume(at < len(found) and key in found[at].cells and not passes(policy, *found))
    fewer = (*found[:at], without_cell(found[at], key), *found[at + 1 :])

    if passes(policy, *fewer):
        alone = replace(found[at], cells={key: found[at].cells[key]})
        assert failures(the_decision(TWO_RULES, a_candidate(alone)))


def failures(decision):
    return [finding for finding in decision.findings if finding.outcome is Outcome.FAILED]


@given(policy=policies, found=evidence, more=evaluations())
def test_a_cell_passes_only_if_everything_on_record_keeps_the_limit(policy, found, more):
    for finding in demands(the_decision(policy, a_candidate(*found, more))):
        if finding.outcome is Outcome.PASSED and finding.cell is not None:
            key = CellKey(finding.rule.split("/")[1], finding.cell.persona, finding.cell.locale)
            runs = [each for each in (*found, more) if key in each.cells]
            mean = recorded_mean(runs, key)
            kept = mean >= 0.85 if finding.demand == "at_least" else mean <= 0.05
            assert kept


@given(policy=policies, found=evidence, more=evaluations())
def test_a_partial_evaluation_never_opens_the_gate(policy, found, more):
    assume(not passes(policy, *found))

    assert not passes(policy, *found, replace(more, partial=True))


@given(policy=policies, found=evidence, more=evaluations())
def test_a_partial_evaluation_is_a_notice(policy, found, more):
    decision = the_decision(policy, a_candidate(*found, replace(more, partial=True)))

    partial = [each.message for each in decision.findings if each.rule == "record/partial-runs"]
    assert sum(str(more.id) in message for message in partial) == 1


def demands(decision):
    return [finding for finding in decision.findings if finding.outcome is not Outcome.NOTICE]


LIMITS = st.floats(0.01, 0.99)


@given(found=evidence, limits=st.tuples(LIMITS, LIMITS), caps=st.tuples(LIMITS, LIMITS))
def test_widening_a_limit_never_closes_the_gate(found, limits, caps):
    (low, high), (strict, lax) = sorted(limits), sorted(caps)
    narrow = limited(high, strict)

    if passes(narrow, *found):
        assert passes(limited(low, lax), *found)


@given(low=LIMITS, high=LIMITS, successes=st.integers(0, 200))
def test_widening_the_limit_of_one_cell_never_closes_it(low, high, successes):
    low, high = sorted((low, high))
    evaluation = an_evaluation(cells=a_cell(successes / 200, 200))

    if passes(a_policy_of(a_rule(at_least=high)), evaluation):
        assert passes(a_policy_of(a_rule(at_least=low)), evaluation)
    if passes(a_policy_of(a_rule(at_least=None, at_most=low)), evaluation):
        assert passes(a_policy_of(a_rule(at_least=None, at_most=high)), evaluation)


def limited(at_least, at_most):
    toxicity = a_rule("toxicity", at_least=None, at_most=at_most)
    return a_policy_of(a_rule(at_least=at_least), toxicity)


@given(policy=policies, found=evidence, random=st.randoms())
def test_the_order_of_evaluations_and_rules_changes_only_that_of_findings(policy, found, random):
    shuffled = random.sample(found, len(found))
    reordered = replace(policy, rules=policy.rules[::-1])

    before = the_decision(policy, a_candidate(*found))
    after = the_decision(reordered, a_candidate(*shuffled))

    assert after.result is before.result
    assert after.evidence_digest == before.evidence_digest
    assert set(after.findings) == set(before.findings)
    assert set(after.evaluations) == set(before.evaluations)


@given(policy=policies, found=evidence)
def test_equal_input_gives_an_equal_decision(policy, found):
    assert the_decision(policy, a_candidate(*found)) == the_decision(policy, a_candidate(*found))


@given(policy=policies, found=evidence)
def test_the_gate_is_open_exactly_if_no_finding_closes_it(policy, found):
    decision = the_decision(policy, a_candidate(*found))

    assert (decision.result is GateResult.PASSED) == (not closing(decision))
    # Every rule has a finding for every cell: the gate did not stop at the first failure.
    assert len(demands(decision)) == 1 + 2 * 4


@given(policy=policies, one=evidence, other=evidence)
def test_every_candidate_must_pass(policy, one, other):
    first = a_candidate(*one)
    second = a_candidate(*other, ref=a_version(3))

    both = the_decision(policy, first, second)

    separately = closing(the_decision(policy, first)) | closing(the_decision(policy, second))
    assert closing(both) == separately
    assert both.candidates == (first.ref, second.ref)


@given(found=evidence, more=evaluations())
def test_the_evidence_digest_changes_with_every_evaluation_that_is_added(found, more):
    before = the_decision(TONE_POLICY, a_candidate(*found))
    after = the_decision(TONE_POLICY, a_candidate(*found, more))

    assert after.evidence_digest != before.evidence_digest


@pytest.mark.parametrize("limit", [0.5, 0.85, 0.9])
def test_one_cell_at_its_limit_passes_with_probability_alpha_at_most(limit):
    """The intersection-union test (Berger 1982): the other cells are perfect, the level holds.

    The gate is monotone in one cell's successes, so the tail begins at its first pass.
    """
    policy = a_policy_of(a_rule(at_least=limit))
    perfect = dict.fromkeys(every_key(), a_cell(1.0, 100))

    passing = [
        successes
        for successes in range(101)
        if passes(policy, an_evaluation(cells=perfect | {a_key(): a_cell(successes / 100, 100)}))
    ]

    assert passing == list(range(100 - misses_allowed(limit, 100, 0.96), 101))
    assert binomial_upper_tail(passing[0], 100, limit) <= 0.05
