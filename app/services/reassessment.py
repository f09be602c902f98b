"""Judging again what is pending when its evidence or its policy has changed."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.db.channels import allocation_of
from app.db.models import Prefix, Promotion
from app.db.promotions import decision_document, pending_below
from app.domain.allocation import Share
from app.services.judgement import Judgement, judge


def reassess(session: Session, prefix: Prefix, *, now: datetime) -> None:
    """Judge every pending promotion of `prefix` again, in the transaction of the change.

    Approvals are of an exact subject, so those given before no longer count for a new one, and
    a wait begins anew.
    """
    session.flush()
    for promotion in pending_below(session, prefix):
        rejudge(session, promotion, now=now)


def rejudge(session: Session, promotion: Promotion, *, now: datetime) -> Judgement:
    """Judge one promotion now and keep the answer on it."""
    versions = {share.version.number: share.version for share in promotion.shares}
    wanted = tuple(Share(share.version.number, share.weight) for share in promotion.shares)
    current = allocation_of(session, promotion.channel)
    judgement = judge(session, promotion.channel, wanted, versions, current=current, now=now)
    promotion.decision = decision_document(judgement.decision)
    promotion.policy_id = promotion.channel.policy_id
    promotion.evidence_digest = judgement.decision.evidence_digest
    if promotion.subject_digest != judgement.subject_digest:
        promotion.subject_digest = judgement.subject_digest
        promotion.subject_since = now
        promotion.due_at = None
    return judgement
