"""Notices: what a decision says beside its demands, so that reviewers decide knowing it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from app.domain.evidence.evaluation import Cell, CellKey, Evaluation
from app.domain.governance.candidates import Candidate, Notice
from app.domain.governance.findings import Finding, Outcome
from app.domain.governance.policies import Policy
from app.domain.naming import rfc3339

ATTEMPTS: Final = "record/attempts"
REJECTIONS: Final = "record/rejections"

# What other promotions do to these would void approvals that do not depend on them.
NOT_APPROVED: Final = frozenset({ATTEMPTS, REJECTIONS})
_QUOTED: Final = 5


@dataclass(frozen=True, slots=True)
class Void:
    """A void evaluation; `by` and `reason` are None if it is of another namespace."""

    evaluation_id: UUID
    suite: str
    cells: Mapping[CellKey, Cell]
    at: datetime
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejection of a promotion of the same content on the same channel."""

    promotion_id: UUID
    by: str
    comment: str
    at: datetime


def void_notice(void: Void) -> Notice:
    """Return the notice of a void evaluation, with what it would have said."""
    worst = _listed(sorted(void.cells.items(), key=lambda each: each[1].mean))
    who = "in another namespace" if void.by is None else f"by {void.by}: {void.reason}"
    message = (
        f"The evaluation {void.evaluation_id} by {void.suite} was voided on {rfc3339(void.at)} "
        f"{who.removesuffix('.')}. It said {worst}."
    )
    return Notice("record/voids", message)


def rejection_notice(rejection: Rejection) -> Notice:
    """Return the notice of an earlier rejection."""
    message = (
        f"{rejection.by} rejected this content on {rfc3339(rejection.at)} in the promotion "
        f"{rejection.promotion_id}: {rejection.comment}"
    )
    return Notice(REJECTIONS, message)


def notices(
    policy: Policy, candidate: Candidate, latest_suites: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield the notices of a decision on a candidate."""
    found = [
        *candidate.notices,
        *_partial(candidate.evaluations),
        *_attempts(policy, candidate),
        *_behind(policy, latest_suites),
        *_uncovered(policy, candidate.evaluations),
    ]
    for notice in found:
        yield Finding(notice.rule, candidate.ref.number, Outcome.NOTICE, notice.message)


def _partial(evaluations: Iterable[Evaluation]) -> Iterator[Notice]:
    for each in sorted(evaluations, key=lambda each: (each.recorded_at, each.id)):
        if each.partial:
            message = (
                f"The run {each.id} by {each.suite} is partial: it can only count against this "
                "version."
            )
            yield Notice("record/partial-runs", message)


def _attempts(policy: Policy, candidate: Candidate) -> Iterator[Notice]:
    for suite in sorted({rule.suite for rule in policy.rules}):
        attempt = candidate.attempts.get(suite)
        if attempt is None or attempt.total == 1:
            continue
        corrected = (
            "its level is divided accordingly"
            if policy.attempts.correct
            else "the policy does not correct for that"
        )
        message = (
            f"It is number {attempt.number} of the {attempt.total} contents of this prefix that "
            f"{suite} has measured; {corrected}."
        )
        yield Notice(ATTEMPTS, message)


def _behind(policy: Policy, latest_suites: Mapping[str, str]) -> Iterator[Notice]:
    for rule in {rule.suite: rule for rule in policy.rules}.values():
        latest = latest_suites.get(rule.suite_name, rule.suite_version)
        if latest != rule.suite_version:
            message = (
                f"The policy is behind the suite: it demands {rule.suite}, and the latest version "
                f"is {latest}."
            )
            yield Notice("suite/behind", message)


def _uncovered(policy: Policy, evaluations: Iterable[Evaluation]) -> Iterator[Notice]:
    """Yield the measured cells of the policy's suites that no rule covers, by suite version."""
    covered = {
        (rule.suite_name, CellKey(rule.metric_name, persona, locale))
        for rule in policy.rules
        for persona in rule.personas
        for locale in rule.locales
    }
    names = {rule.suite_name for rule in policy.rules}
    found: dict[str, dict[CellKey, Cell]] = {}
    for each in sorted(evaluations, key=lambda each: (each.recorded_at, each.id)):
        if each.suite.name in names:
            for key, cell in each.cells.items():
                if (each.suite.name, key) not in covered:
                    found.setdefault(str(each.suite), {})[key] = cell
    for suite, cells in sorted(found.items()):
        listed = _listed(sorted(cells.items(), key=lambda each: (each[1].mean, each[0])))
        message = f"No rule covers {len(cells)} measured cells of {suite}: {listed}."
        yield Notice("suite/uncovered", message)


def _listed(cells: list[tuple[CellKey, Cell]]) -> str:
    shown = ", ".join(
        f"{key} {cell.mean:.4g} over {cell.samples} samples" for key, cell in cells[:_QUOTED]
    )
    more = len(cells) - _QUOTED
    return f"{shown} and {more} more" if more > 0 else shown
