"""Reviews: eligible reviewers, the approvals that count, and the number of them required."""

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
    """A verdict on one approval subject, which its digest identifies (see `subject_digest`)."""

    reviewer_id: UUID
    verdict: Verdict
    subject_digest: str
    at: datetime


Contributors = Mapping[Contributor, frozenset[UUID]]


def subject_digest(allocation: Mapping[str, int], evidence_digest: str, policy_digest: str) -> str:
    """Return the digest of an approval subject: weights by artifact digest, evidence, policy."""
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
            return f"{reviewer.name} is {_TITLES[role]}, and the policy excludes such reviewers."
    return None


_TITLES = {
    Contributor.AUTHOR: "an author of the promoted versions",
    Contributor.OWNER: "the owner of the prefix",
    Contributor.REQUESTER: "the requester",
    Contributor.EVALUATOR: "an evaluator of the promoted versions",
}


def repeat_approval_refusal(name: str) -> str:
    """Return why a reviewer may not approve the same subject twice."""
    return f"{name} has already approved exactly this; another reviewer must approve it."


def eligible(
    approvals: Approvals, approvers: Iterable[Reviewer], contributors: Contributors
) -> tuple[Reviewer, ...]:
    """Return the eligible reviewers among `approvers`, sorted by name."""
    allowed = [
        each for each in approvers if review_refusal_reason(approvals, each, contributors) is None
    ]
    return tuple(sorted(allowed))


def required_approvals(policy: Policy, growing: Allocation) -> int:
    """Return how many approvals the growing shares need; a canary may need fewer.

    The shares are added up; otherwise ten canaries could replace the whole allocation.
    """
    canary = policy.canary
    weight = sum(share.weight for share in growing)
    if canary is not None and 0 < weight <= canary.max_weight:
        return canary.approvals.required
    return policy.approvals.required


@dataclass(frozen=True, slots=True)
class ApprovalSubject:
    """The digest under review, and the time since which it has not changed."""

    digest: str
    since: datetime


def counted_approvals(
    approvals: Approvals, reviews: Iterable[Review], *, subject: ApprovalSubject, now: datetime
) -> tuple[Review, ...]:
    """Return the approvals that count now: of exactly this subject, and not expired.

    An approval from before the subject's last change is void, even if the subject has changed
    back since: the reviewer may have seen another one.
    """
    return tuple(
        review
        for review in reviews
        if review.verdict is Verdict.APPROVE
        and review.subject_digest == subject.digest
        and review.at >= subject.since
        and now - review.at <= approvals.valid_for
    )
