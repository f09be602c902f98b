"""The gate as a whole: what opens it, what never does, and that its answer can be recomputed."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.cells import Outcome
from app.domain.evidence import EvidenceKind
from app.domain.gate import EvaluationRef, Result
from app.domain.policies import ArtifactDemand, CardDemand, Contributor, EvidenceDemand, Margins
from app.domain.statistics.distributions import binomial_upper_tail
from app.domain.statistics.proportions import successes_needed
from tests.evidence import (
    AUTHOR,
    EVALUATOR,
    NOW,
    OWNER,
    a_candidate,
    a_cell,
    a_digest,
    a_key,
    a_policy_of,
    a_rule,
    a_suite,
    a_version,
    an_evaluation,
    an_id,
    every_key,
    the_decision,
)

TONE_POLICY = a_policy_of(a_rule())
TWO_RULES = a_policy_of(a_rule(), a_rule("toxicity", at_least=None, at_most=0.05))
ONE_CELL = {"personas": ("novice",), "locales": ("en",)}


def passes(policy, *evaluations, **candidate):
    return the_decision(policy, a_candidate(*evaluations, **candidate)).result is Result.PASSED


def outcomes(policy, *evaluations, **candidate):
    """Return the outcome of every finding by its rule."""
    found = the_decision(policy, a_candidate(*evaluations, **candidate)).findings
    return {finding.rule: finding.outcome for finding in found}


def closing(decision):
    """Return what keeps the gate shut, without what else a finding says."""
    return {
        (finding.version, finding.rule, finding.cell, finding.demand)
        for finding in decision.findings
        if finding.closes
    }


# Evidence for two rules: mostly good, with cells here and there that are bad, too small or absent.
GOOD = dict.fromkeys(every_key(), a_cell(0.95, 200)) | dict.fromkeys(
    every_key("toxicity"), a_cell(0.01, 1_000)
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


def test_without_evidence_the_gate_is_shut():
    assert not passes(TONE_POLICY)


def test_without_a_candidate_the_gate_is_shut():
    decision = the_decision(TONE_POLICY)

    assert (decision.result, decision.findings) == (Result.FAILED, ())


def test_a_rule_that_only_compares_needs_evidence_even_where_there_is_no_incumbent():
    policy = a_policy_of(a_rule(at_least=None, no_worse_than=Margins(incumbent=0.02)))

    assert not passes(policy)
    assert passes(policy, an_evaluation())


def test_a_policy_whose_rules_name_no_cell_opens_nothing():
    assert not passes(a_policy_of(a_rule(personas=())), an_evaluation())


@given(policy=policies, found=evidence, at=st.integers(0), key=st.sampled_from(every_key()))
def test_a_nan_never_passes(policy, found, at, key):
    assume(any(not each.partial for each in found))
    whole = [each for each in found if not each.partial]
    poisoned = whole[at % len(whole)]
    cells = {**poisoned.cells, key: a_cell(math.nan)}
    others = [each for each in found if each is not poisoned]

    assert not passes(policy, *others, replace(poisoned, cells=cells))


@given(policy=policies, found=evidence, key=st.sampled_from([*every_key(), *every_key("toxicity")]))
def test_a_cell_that_nothing_measured_never_passes(policy, found, key):
    assert not passes(policy, *(without_cell(each, key) for each in found))


def without_cell(evaluation, key):
    return replace(evaluation, cells={k: cell for k, cell in evaluation.cells.items() if k != key})


@given(policy=policies, found=evidence, key=st.sampled_from(list(GOOD)))
def test_removing_a_cell_from_the_evidence_never_opens_the_gate(policy, found, key):
    """The cell, from all that measured it: losing what is known of it cannot help."""
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
def test_adding_a_failing_evaluation_never_opens_the_gate(policy, found, more):
    alone = the_decision(TWO_RULES, a_candidate(more))
    assume(failures(alone))

    assert not passes(policy, *found, more)


@given(policy=policies, found=evidence, more=evaluations())
def test_adding_an_evaluation_helps_only_on_cells_that_nothing_qualified_had_measured(
    policy, found, more
):
    before = the_decision(policy, a_candidate(*found))
    after = the_decision(policy, a_candidate(*found, more))

    for old, new in zip(before.findings, after.findings, strict=True):
        if old.closes and not new.closes:
            assert old.outcome is Outcome.MISSING or "record another" in old.message


@given(policy=policies, found=evidence, more=evaluations())
def test_a_partial_evaluation_changes_nothing_but_the_record(policy, found, more):
    before = the_decision(policy, a_candidate(*found))
    after = the_decision(policy, a_candidate(*found, replace(more, partial=True)))

    assert after.findings == before.findings
    assert after.evidence_digest != before.evidence_digest


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
def test_the_order_of_evaluations_and_rules_changes_nothing_but_the_order(policy, found, random):
    shuffled = random.sample(found, len(found))
    reordered = replace(policy, rules=policy.rules[::-1])

    before = the_decision(policy, a_candidate(*found))
    after = the_decision(reordered, a_candidate(*shuffled))

    assert after.result is before.result
    assert after.evidence_digest == before.evidence_digest
    assert set(after.findings) == set(before.findings)
    assert set(after.evaluations) == set(before.evaluations)


@given(policy=policies, found=evidence)
def test_a_decision_comes_out_the_same_from_the_same_input(policy, found):
    assert the_decision(policy, a_candidate(*found)) == the_decision(policy, a_candidate(*found))


@given(policy=policies, found=evidence)
def test_the_gate_is_open_just_when_nothing_keeps_it_shut(policy, found):
    decision = the_decision(policy, a_candidate(*found))

    assert (decision.result is Result.PASSED) == (not closing(decision))
    # Every rule spoke of every cell: nothing stopped at the first failure.
    assert len(decision.findings) == 1 + 2 * 4


@given(policy=policies, one=evidence, other=evidence)
def test_every_candidate_must_pass(policy, one, other):
    first = a_candidate(*one)
    second = a_candidate(*other, ref=a_version(3))

    both = the_decision(policy, first, second)

    apart = closing(the_decision(policy, first)) | closing(the_decision(policy, second))
    assert closing(both) == apart
    assert both.candidates == (first.ref, second.ref)


MAX_AGE = timedelta(days=30)
SECOND = timedelta(seconds=1)
STRICT = EvidenceDemand(MAX_AGE, "required", (Contributor.AUTHOR, Contributor.OWNER))
DISQUALIFIED = [
    pytest.param({"finished_at": NOW - MAX_AGE - SECOND}, id="too-old"),
    pytest.param({"kind": EvidenceKind.AGGREGATES}, id="aggregates-only"),
    pytest.param({"evaluator_id": AUTHOR}, id="by-the-author"),
    pytest.param({"evaluator_id": OWNER}, id="by-the-owner"),
]


@pytest.mark.parametrize("changes", DISQUALIFIED)
def test_what_is_not_qualified_never_satisfies_but_its_failure_counts(changes):
    policy = replace(TONE_POLICY, evidence=STRICT)
    perfect = an_evaluation("perfect", cells=a_cell(1.0, 10_000), **changes)
    bad = an_evaluation("bad", cells=a_cell(0.5), **changes)

    assert not passes(policy, perfect)
    assert passes(policy, perfect, an_evaluation())
    assert not passes(policy, bad, an_evaluation())
    # The same evaluation is good enough where the policy does not ask.
    assert passes(TONE_POLICY, perfect)


def test_a_partial_evaluation_neither_satisfies_nor_fails():
    assert not passes(TONE_POLICY, an_evaluation(partial=True))
    assert passes(TONE_POLICY, an_evaluation(), an_evaluation("bad", partial=True, cells=a_cell(0)))


@pytest.mark.parametrize(
    ("changes", "excluded"),
    [
        pytest.param({"finished_at": NOW - MAX_AGE}, (), id="exactly-of-the-age"),
        pytest.param({"evaluator_id": OWNER}, (Contributor.AUTHOR,), id="only-authors-excluded"),
        pytest.param(
            {"evaluator_id": EVALUATOR},
            (Contributor.AUTHOR, Contributor.OWNER),
            id="no-contributor",
        ),
    ],
)
def test_what_the_policy_admits_is_qualified(changes, excluded):
    demand = EvidenceDemand(MAX_AGE, "required", excluded)

    assert passes(replace(TONE_POLICY, evidence=demand), an_evaluation(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"finished_at": NOW - 2 * MAX_AGE},
            "finished before 2026-01-30T12:00:00.000000Z, the earliest that the policy admits",
            id="too-old",
        ),
        pytest.param(
            {"kind": EvidenceKind.AGGREGATES},
            "has aggregates only, and the policy demands samples",
            id="aggregates-only",
        ),
        pytest.param(
            {"evaluator_id": AUTHOR},
            "was recorded by a contributor whom the policy excludes",
            id="by-the-author",
        ),
    ],
)
def test_a_disqualification_is_told(changes, reason):
    policy = a_policy_of(a_rule(**ONE_CELL), evidence=STRICT)

    *_, finding = the_decision(policy, a_candidate(an_evaluation(**changes))).findings

    assert finding.message == (
        f"tone for novice/en was measured, but the evaluation {reason}; record another."
    )


def test_time_only_ever_takes_evidence_away():
    policy = replace(TONE_POLICY, evidence=EvidenceDemand(max_age=MAX_AGE))
    candidate = a_candidate(an_evaluation(finished_at=NOW))

    results = [
        the_decision(policy, candidate, now=NOW + timedelta(days=day)).result for day in range(60)
    ]

    assert results == [Result.PASSED] * 31 + [Result.FAILED] * 29


def test_another_suite_is_no_evidence():
    other = a_suite(name="brand-tone")

    assert not passes(TONE_POLICY, an_evaluation(suite=other))
    assert passes(TONE_POLICY, an_evaluation(), an_evaluation("bad", suite=other, cells=a_cell(0)))


def test_every_version_of_the_suite_counts():
    older = an_evaluation("older", suite=a_suite(version="2"), cells=a_cell(0.5))

    assert not passes(TONE_POLICY, an_evaluation(), older)


@pytest.mark.parametrize(
    ("demand", "candidate", "rule", "passed"),
    [
        pytest.param({}, {}, "types", True, id="a-prefix"),
        pytest.param({}, {"peft_type": "LORA"}, "types", False, id="no-prefix"),
        pytest.param({"types": ("CARTRIDGE",)}, {}, "types", False, id="a-type-not-admitted"),
        pytest.param({"max_virtual_tokens": 20}, {}, "max_virtual_tokens", True, id="tokens"),
        pytest.param({"max_virtual_tokens": 19}, {}, "max_virtual_tokens", False, id="many-tokens"),
        pytest.param(
            {"max_parameter_fraction": 0.0004}, {}, "max_parameter_fraction", True, id="parameters"
        ),
        pytest.param(
            {"max_parameter_fraction": 0.0003},
            {},
            "max_parameter_fraction",
            False,
            id="many-parameters",
        ),
        pytest.param(
            {"max_parameter_fraction": 1.0},
            {"parameter_fraction": math.nan},
            "max_parameter_fraction",
            False,
            id="nan-parameters",
        ),
    ],
)
def test_an_artifact_must_be_what_the_policy_admits(demand, candidate, rule, passed):
    policy = replace(TONE_POLICY, artifact=ArtifactDemand(**demand))

    found = outcomes(policy, an_evaluation(), **candidate)

    assert (found[f"artifact/{rule}"] is Outcome.PASSED) is passed
    assert passes(policy, an_evaluation(), **candidate) is passed


def test_an_artifact_finding_carries_its_numbers():
    policy = replace(TONE_POLICY, artifact=ArtifactDemand(max_virtual_tokens=19))

    found = the_decision(policy, a_candidate()).findings[1]

    assert (found.observed, found.demanded, found.demand) == (20, 19, "fact")
    assert found.message == "max_virtual_tokens is 20; the policy admits 19."


@pytest.mark.parametrize(
    ("card", "passed"),
    [
        pytest.param({"licence": "apache-2.0"}, True, id="stated"),
        pytest.param({"licence": [{"name": "x"}]}, True, id="a-list"),
        pytest.param({}, False, id="absent"),
        pytest.param({"licence": None}, False, id="null"),
        pytest.param({"licence": ""}, False, id="empty"),
        pytest.param({"licence": " \n"}, False, id="blank"),
        pytest.param({"licence": []}, False, id="an-empty-list"),
        pytest.param({"Licence": "apache-2.0"}, False, id="under-another-name"),
    ],
)
def test_a_card_must_state_what_the_policy_requires(card, passed):
    policy = replace(TONE_POLICY, card=CardDemand(required=("licence",)))

    assert passes(policy, an_evaluation(), card=card) is passed


@pytest.mark.parametrize(
    ("card", "passed"),
    [
        pytest.param({"uses": ["tone"]}, True, id="another-use"),
        pytest.param({"uses": ["tone", "knowledge"]}, False, id="the-forbidden-use"),
        pytest.param({"uses": ("knowledge",)}, False, id="in-a-tuple"),
        pytest.param({"uses": "knowledge"}, False, id="as-a-text"),
        pytest.param({"uses": []}, True, id="no-use"),
        pytest.param({}, True, id="nothing-declared"),
        pytest.param({"uses": None}, True, id="null"),
    ],
)
def test_a_card_must_not_declare_a_forbidden_use(card, passed):
    policy = replace(TONE_POLICY, card=CardDemand(forbid_uses=("knowledge",)))

    assert passes(policy, an_evaluation(), card=card) is passed


def test_a_card_finding_says_what_the_card_states():
    policy = replace(TONE_POLICY, card=CardDemand(("licence", "limits"), ("knowledge", "tone")))
    card = {"licence": "apache-2.0", "uses": ["tone"]}

    found = the_decision(policy, a_candidate(card=card)).findings

    assert [finding.message for finding in found if finding.rule.startswith("card/")] == [
        "The card states licence.",
        "The card does not state limits.",
        "The card does not declare the use knowledge, which the policy forbids.",
        "The card declares the use tone, which the policy forbids.",
    ]


def comparison(incumbent):
    rule = a_rule(**ONE_CELL, no_worse_than=Margins(incumbent=0.02))
    decision = the_decision(a_policy_of(rule), a_candidate(an_evaluation()), incumbent=incumbent)
    (found,) = [finding for finding in decision.findings if finding.demand == "incumbent"]
    return decision, found


@pytest.mark.parametrize("incumbent", [None, a_version(2)], ids=["none", "the-candidate-itself"])
def test_without_another_version_to_compare_with_the_comparison_does_not_apply(incumbent):
    decision, found = comparison(incumbent)

    assert found.outcome is Outcome.NOT_APPLICABLE
    assert found.message == "The channel has no incumbent other than this version to compare with."
    assert (decision.result, decision.incumbent) == (Result.PASSED, incumbent)


def test_an_incumbent_that_cannot_be_compared_keeps_the_gate_shut():
    decision, found = comparison(a_version(1))

    assert (decision.result, found.outcome) == (Result.FAILED, Outcome.MISSING)
    assert "Comparing with version 1 takes paired samples" in found.message


def test_a_decision_records_all_that_went_into_it():
    partial = an_evaluation("partial", partial=True)
    candidate = a_candidate(an_evaluation(), partial)

    decision = the_decision(TONE_POLICY, candidate, incumbent=a_version(1))

    assert (decision.evaluated_at, decision.incumbent) == (NOW, a_version(1))
    assert (decision.policy.name, decision.policy.version) == ("brand-safe", 1)
    assert decision.candidates == (candidate.ref,)
    assert decision.evaluations == (
        EvaluationRef(an_id("first"), a_digest("first")),
        EvaluationRef(an_id("partial"), a_digest("partial")),
    )


@given(found=evidence, more=evaluations())
def test_the_evidence_digest_changes_with_every_evaluation_that_is_added(found, more):
    before = the_decision(TONE_POLICY, a_candidate(*found))
    after = the_decision(TONE_POLICY, a_candidate(*found, more))

    assert after.evidence_digest != before.evidence_digest


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"candidate": a_candidate(an_evaluation(), ref=a_version(3))}, id="version"),
        pytest.param({"candidate": a_candidate(an_evaluation("second"))}, id="another-evaluation"),
        pytest.param({"candidate": a_candidate()}, id="a-voided-evaluation"),
        pytest.param({"incumbent": a_version(1)}, id="incumbent"),
    ],
)
def test_the_evidence_digest_changes_with_what_was_judged(other):
    facts = {"candidate": a_candidate(an_evaluation()), "incumbent": None}

    digests = [
        the_decision(TONE_POLICY, each["candidate"], incumbent=each["incumbent"]).evidence_digest
        for each in (facts, facts | other)
    ]

    assert digests[0] != digests[1]


def test_the_evidence_digest_does_not_change_with_time_alone():
    candidate = a_candidate(an_evaluation())
    later = the_decision(TONE_POLICY, candidate, now=NOW + timedelta(days=1))

    assert later.evidence_digest == the_decision(TONE_POLICY, candidate).evidence_digest


@pytest.mark.parametrize("limit", [0.5, 0.85, 0.9])
def test_one_cell_at_its_limit_passes_with_probability_alpha_at_most(limit):
    """The intersection-union test (Berger 1982): the other cells are perfect, the level holds.

    The gate is monotone in one cell's successes, so its first pass is where the tail begins.
    """
    policy = a_policy_of(a_rule(at_least=limit))
    perfect = dict.fromkeys(every_key(), a_cell(1.0, 100))

    passing = [
        successes
        for successes in range(101)
        if passes(policy, an_evaluation(cells=perfect | {a_key(): a_cell(successes / 100, 100)}))
    ]

    assert passing == list(range(successes_needed(limit, 100, 0.95), 101))
    assert binomial_upper_tail(passing[0], 100, limit) <= 0.05
