"""Reviews: who may give one, which of them count, and what a promotion still waits for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.governance.allocation import Allocation
from app.domain.governance.policies import Approvals, Contributor, Policy
from app.domain.identity.access import PrincipalKind
from app.domain.naming import canonical_digest


class Verdict(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, order=True)
class Reviewer:
    name: str
    id: UUID
    kind: PrincipalKind


@dataclass(frozen=True, slots=True)
class Review:
    """A verdict about one exact thing; `subject_digest` binds it (see `subject_digest`)."""

    reviewer_id: UUID
    verdict: Verdict
    subject_digest: str
    at: datetime


Contributors = Mapping[Contributor, frozenset[UUID]]


def subject_digest(allocation: Mapping[str, int], evidence_digest: str, policy_digest: str) -> str:
    """Return the digest of what a reviewer decides on: bytes with weights, evidence, policy."""
    return canonical_digest(
        {
            "allocation": dict(allocation),
            "evidence": evidence_digest,
            "policy": policy_digest,
        }
    )


def review_refusal_reason(
    approvals: Approvals, reviewer: Reviewer, contributors: Contributors
) -> str | None:
    """Return why `reviewer` may not review this promotion, or None if it may."""
    if approvals.human and reviewer.kind is not PrincipalKind.HUMAN:
        return f"{reviewer.name} is a service, and the policy demands human reviewers."
    for role in approvals.exclude:
        if reviewer.id in contributors.get(role, frozenset()):
            return f"{reviewer.name} is {_WORDS[role]}, whom the policy excludes from reviewing."
    return None


_WORDS = {
    Contributor.AUTHOR: "the author of a version in it",
    Contributor.OWNER: "the owner of the prefix",
    Contributor.REQUESTER: "the requester",
    Contributor.EVALUATOR: "an evaluator of a version in it",
}


def approved_already(name: str) -> str:
    """Say why somebody may not approve the same once more."""
    return f"{name} has approved exactly this already; another reviewer must."


def eligible(
    approvals: Approvals, approvers: Iterable[Reviewer], contributors: Contributors
) -> tuple[Reviewer, ...]:
    """Return those of `approvers` who may review, by name."""
    allowed = [
        each for each in approvers if review_refusal_reason(approvals, each, contributors) is None
    ]
    return tuple(sorted(allowed))


def required_approvals(policy: Policy, growing: Allocation) -> int:
    """Return how many approvals the growing shares need: fewer for a canary, if it stays one.

    The shares count together, or ten canaries could replace all that a channel serves.
    """
    canary = policy.canary
    weight = sum(share.weight for share in growing)
    if canary is not None and 0 < weight <= canary.max_weight:
        return canary.approvals.required
    return policy.approvals.required


@dataclass(frozen=True, slots=True)
class ApprovalSubject:
    """What is under review, and since when it is that without a break."""

    digest: str
    since: datetime


def counted_approvals(
    approvals: Approvals, reviews: Iterable[Review], *, subject: ApprovalSubject, now: datetime
) -> tuple[Review, ...]:
    """Return the approvals that count now: of exactly this subject and not expired.

    One given before the subject last changed is void, even if it changed back since: what its
    reviewer saw in between is not known.
    """
    return tuple(
        review
        for review in reviews
        if review.verdict is Verdict.APPROVE
        and review.subject_digest == subject.digest
        and review.at >= subject.since
        and now - review.at <= approvals.valid_for
    )
