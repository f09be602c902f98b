"""Notices: what a decision says beside its demands."""

from app.domain.governance.candidates import Attempt
from app.domain.governance.gate import Context, PolicyRef, decide
from app.domain.governance.notices import Rejection, Void, rejection_notice, void_notice
from app.domain.governance.policies import AttemptDemand
from tests.support.evidence import (
    NOW,
    a_candidate,
    a_cell,
    a_digest,
    a_key,
    a_policy_of,
    a_rule,
    a_suite,
    an_evaluation,
    an_id,
    every_key,
)

POLICY = a_policy_of(a_rule())
REF = PolicyRef("brand-safe", 1, a_digest("policy"))


def decision_of(candidate, policy=POLICY, **context):
    return decide(policy, REF, [candidate], Context(None, **context), NOW)


def noticed(*arguments, **context):
    """Return the messages of notices by rule."""
    found = decision_of(*arguments, **context).findings
    return {each.rule: each.message for each in found if each.outcome == "notice"}


def test_without_anything_to_say_there_is_no_notice():
    assert noticed(a_candidate(an_evaluation()), latest_suites={"brand-voice": "3"}) == {}


def test_a_void_evaluation_is_told_with_what_it_said():
    void = Void(an_id("bad"), "brand-voice@3", {a_key(): a_cell(0.2)}, NOW, "ann", "It broke.")
    message = void_notice(void).message
    assert "was voided on 2026-03-01T12:00:00.000000Z by ann: It broke." in message
    assert "It said tone for novice/en 0.2 over 200 samples." in message
    hidden = Void(an_id("bad"), "brand-voice@3", void.cells, NOW, None, None)
    assert "in another namespace. It said" in void_notice(hidden).message


def test_a_rejection_is_told_with_its_comment():
    notice = rejection_notice(Rejection(an_id("p"), "ann", "Too cold.", NOW))
    assert notice.message.startswith("ann rejected this content on 2026-03-01")
    assert notice.message.endswith(": Too cold.")


def test_void_runs_are_part_of_what_is_approved():
    notice = void_notice(Void(an_id("bad"), "s@1", {a_key(): a_cell(0.2)}, NOW, "ann", "Broken"))
    plain, told = a_candidate(an_evaluation()), a_candidate(an_evaluation(), notices=(notice,))
    assert noticed(told) == {"record/voids": notice.message}
    assert decision_of(told).evidence_digest != decision_of(plain).evidence_digest
    assert decision_of(told).result == decision_of(plain).result


def test_a_rejection_of_another_promotion_voids_no_approval():
    notice = rejection_notice(Rejection(an_id("p"), "ann", "Too cold.", NOW))
    plain, told = a_candidate(an_evaluation()), a_candidate(an_evaluation(), notices=(notice,))
    assert noticed(told) == {"record/rejections": notice.message}
    assert decision_of(told).evidence_digest == decision_of(plain).evidence_digest


def test_attempts_are_counted_without_voiding_approvals():
    first = a_candidate(an_evaluation(), attempts={"brand-voice@3": Attempt(1, 1)})
    third = a_candidate(an_evaluation(), attempts={"brand-voice@3": Attempt(3, 5)})
    assert noticed(first) == {}
    message = noticed(third)["record/attempts"]
    assert "number 3 of the 5 contents" in message
    assert "the policy does not correct for that" in message
    assert decision_of(third).evidence_digest == decision_of(first).evidence_digest
    corrected = a_policy_of(a_rule(), attempts=AttemptDemand(correct=True))
    assert "its level is divided" in noticed(third, corrected)["record/attempts"]


def test_a_policy_behind_its_suite_is_told():
    message = noticed(a_candidate(), latest_suites={"brand-voice": "4"})["suite/behind"]
    assert "it demands brand-voice@3, and the latest version is 4" in message


def test_measured_cells_that_no_rule_covers_are_told_worst_first():
    suite = a_suite(version="4", personas=("novice", "expert", "child"))
    cells = {
        a_key(persona="child"): a_cell(0.0, 400),
        a_key(): a_cell(0.95),
        **dict.fromkeys(every_key("toxicity"), a_cell(0.01)),
        a_key("bleu"): a_cell(20),
    }
    other = an_evaluation("other", suite=a_suite(name="elsewhere"), cells=cells)
    message = noticed(a_candidate(an_evaluation(suite=suite, cells=cells), other))[
        "suite/uncovered"
    ]
    assert "No rule covers 6 measured cells of brand-voice@4" in message
    assert message.index("child/en 0 over 400") < message.index("toxicity")
    assert message.endswith("and 1 more.")


def test_partial_runs_are_told():
    assert "is partial" in noticed(a_candidate(an_evaluation(partial=True)))["record/partial-runs"]
