"""Approval status: which reviewers a promotion has, may still have, and needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.evaluations import evaluators_and_authors
from app.db.models import Promotion, PromotionShare
from app.db.policies import policy_of
from app.db.principals import approvers_by_namespace
from app.domain.governance import gate
from app.domain.governance.allocation import Share
from app.domain.governance.approvals import (
    ApprovalSubject,
    Contributors,
    Review,
    Reviewer,
    counted_approvals,
    eligible,
    required_approvals,
)
from app.domain.governance.policies import Approvals, Contributor, Policy


@dataclass(frozen=True, slots=True)
class ApprovalStatus:
    """The approvals of a promotion: how many it needs, who gave one, and who can give one.

    The promotion does not execute before `not_before`, even with all approvals.
    """

    required: int
    not_before: datetime
    approvals: Approvals
    contributors: Contributors
    eligible: tuple[Reviewer, ...]
    approved: frozenset[UUID]

    @property
    def approvals_missing(self) -> int:
        return max(self.required - len(self.approved), 0)

    @property
    def remaining_reviewers(self) -> tuple[Reviewer, ...]:
        return tuple(reviewer for reviewer in self.eligible if reviewer.id not in self.approved)


@dataclass(frozen=True, slots=True)
class ApprovalContext:
    """The rows from which approval status is computed.

    These are policies, the evaluator of each evaluation, the authors of each content, and the
    approvers of each namespace.
    """

    policies: Mapping[UUID, Policy]
    evaluators: Mapping[UUID, UUID]
    authors: Mapping[str, frozenset[UUID]]
    approvers: Mapping[str, Sequence[Reviewer]]

    def status_of(self, promotion: Promotion, *, now: datetime) -> ApprovalStatus:
        """Return the approval status of one of the promotions.

        An approval counts while it is of the current subject, has not expired, and its reviewer
        is still eligible. It lapses if the reviewer loses the role or becomes a contributor.
        """
        policy = self.policies[promotion.channel.policy_id]
        grown = _grown(promotion)
        contributors = self._contributors(promotion, grown)
        approvers = self.approvers[promotion.channel.prefix.namespace]
        reviewers = eligible(policy.approvals, approvers, contributors)
        reviews = [
            Review(row.reviewer_id, row.verdict, row.subject_digest, row.reviewed_at)
            for row in promotion.reviews
        ]
        subject = ApprovalSubject(promotion.subject_digest, promotion.subject_since)
        counted = counted_approvals(policy.approvals, reviews, subject=subject, now=now)
        shares = tuple(Share(share.version.number, share.weight) for share in grown)
        return ApprovalStatus(
            required=required_approvals(policy, shares),
            not_before=promotion.subject_since + policy.approvals.wait,
            approvals=policy.approvals,
            contributors=contributors,
            eligible=reviewers,
            approved=frozenset(approval.reviewer_id for approval in counted)
            & {reviewer.id for reviewer in reviewers},
        )

    def _contributors(
        self, promotion: Promotion, grown: Sequence[PromotionShare]
    ) -> dict[Contributor, frozenset[UUID]]:
        evaluators = frozenset(self.evaluators[id_] for id_ in _evaluation_ids(promotion))
        return {
            Contributor.AUTHOR: frozenset[UUID]().union(
                *(self.authors[share.version.content] for share in grown)
            ),
            Contributor.OWNER: frozenset({promotion.channel.prefix.owner_id}),
            Contributor.REQUESTER: frozenset({promotion.requested_by_id}),
            Contributor.EVALUATOR: evaluators,
        }


def approval_context_of(session: Session, promotions: Sequence[Promotion]) -> ApprovalContext:
    """Read, in two queries, the evaluators, authors and approvers of the promotions."""
    evaluations = {id_ for promotion in promotions for id_ in _evaluation_ids(promotion)}
    contents = {share.version.content for each in promotions for share in each.shares}
    namespaces = {promotion.channel.prefix.namespace for promotion in promotions}
    rows = {promotion.channel.policy_id: promotion.channel.policy for promotion in promotions}
    evaluators, authors = evaluators_and_authors(session, evaluations, contents)
    return ApprovalContext(
        policies={id_: policy_of(row) for id_, row in rows.items()},
        evaluators=evaluators,
        authors=authors,
        approvers=approvers_by_namespace(session, namespaces),
    )


def approval_status_of(
    session: Session, promotions: Sequence[Promotion], *, now: datetime
) -> dict[UUID, ApprovalStatus]:
    """Return the approval status of each promotion, in two queries for all of them."""
    context = approval_context_of(session, promotions)
    return {promotion.id: context.status_of(promotion, now=now) for promotion in promotions}


def _grown(promotion: Promotion) -> list[PromotionShare]:
    """Return the shares of the candidates: the versions whose traffic would grow."""
    candidates = {candidate["number"] for candidate in promotion.outline["candidates"]}
    return [share for share in promotion.shares if share.version.number in candidates]


def _evaluation_ids(promotion: Promotion) -> list[UUID]:
    """Return the candidates' evaluations, without those of the incumbent and control runs."""
    used = promotion.outline["evaluations"]
    return [UUID(ref["id"]) for ref in used if ref["of"] == gate.EvidenceRole.CANDIDATE]
