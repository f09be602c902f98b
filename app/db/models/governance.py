"""Tables of governance: policies, channels, generations, promotions and reviews."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship

from app.db.models.artifacts import Prefix, Version
from app.db.models.base import APPEND_ONLY, Base, is_digest, one_of
from app.db.models.identity import Principal
from app.domain.governance.allocation import ALL_TRAFFIC
from app.domain.governance.approvals import Verdict
from app.domain.governance.lifecycle import GenerationKind, PromotionState
from app.domain.naming import RESERVED_CHANNEL_PATTERN

_IS_A_WEIGHT = f"weight BETWEEN 1 AND {ALL_TRAFFIC}"
_BREAK_GLASS = text(f"kind = '{GenerationKind.BREAK_GLASS}'")
_PENDING = text(f"state = '{PromotionState.PENDING}'")


class PolicyRow(Base):
    """An immutable version of a policy; a new text is a new version."""

    __tablename__ = "policy"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        is_digest("digest"),
        {"info": APPEND_ONLY},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    name: Mapped[str]
    version: Mapped[int]
    document: Mapped[dict[str, Any]]
    digest: Mapped[str]
    created_at: Mapped[datetime]
    created_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))

    created_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)


class Channel(Base):
    """A named pointer of a prefix, which serves its latest generation."""

    __tablename__ = "channel"
    __table_args__ = (
        UniqueConstraint("prefix_id", "name"),
        CheckConstraint(f"name !~* '{RESERVED_CHANNEL_PATTERN}'", name="name_not_reserved"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    prefix_id: Mapped[UUID] = mapped_column(ForeignKey("prefix.id"))
    name: Mapped[str]
    policy_id: Mapped[UUID] = mapped_column(ForeignKey("policy.id"), index=True)
    created_at: Mapped[datetime]
    generation: Mapped[int] = mapped_column(default=0, server_default="0")

    prefix: Mapped[Prefix] = relationship(lazy="raise", init=False, repr=False)
    policy: Mapped[PolicyRow] = relationship(lazy="raise", init=False, repr=False)


class Generation(Base):
    """An executed change of a channel: its new allocation, and the reason."""

    __tablename__ = "generation"
    __table_args__ = (
        CheckConstraint("number > 0", name="number_positive"),
        Index(None, "channel_id", "executed_at"),
        Index("ix_generation_break_glass", "channel_id", postgresql_where=_BREAK_GLASS),
        Index(None, "executed_at"),
        {"info": APPEND_ONLY},
    )

    channel_id: Mapped[UUID] = mapped_column(ForeignKey("channel.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[GenerationKind] = mapped_column(one_of(GenerationKind))
    promotion_id: Mapped[UUID | None] = mapped_column(ForeignKey("promotion.id"), index=True)
    reason: Mapped[str]
    executed_at: Mapped[datetime]
    executed_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))

    shares: Mapped[list["GenerationShare"]] = relationship(
        lazy="raise", default_factory=list, repr=False, order_by="GenerationShare.weight.desc()"
    )
    executed_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)
    channel: Mapped[Channel] = relationship(lazy="raise", init=False, repr=False)


class GenerationShare(Base):
    """A version's share of a generation's traffic, in basis points."""

    __tablename__ = "generation_share"
    __table_args__ = (
        CheckConstraint(_IS_A_WEIGHT, name="weight_in_range"),
        ForeignKeyConstraint(
            ["channel_id", "number"], ["generation.channel_id", "generation.number"]
        ),
        Index(None, "version_id"),
        {"info": APPEND_ONLY},
    )

    channel_id: Mapped[UUID] = mapped_column(primary_key=True, init=False)
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("version.id"), primary_key=True)
    weight: Mapped[int]

    version: Mapped[Version] = relationship(lazy="raise", init=False, repr=False)


class Promotion(Base):
    """A request to change a channel's allocation, with the gate's decision and the outcome."""

    __tablename__ = "promotion"
    __table_args__ = (
        is_digest("evidence_digest"),
        is_digest("subject_digest"),
        CheckConstraint(
            f"(state = '{PromotionState.PENDING}') = (closed_at IS NULL)", name="closed_when_ended"
        ),
        Index(None, "state", "created_at", "id"),
        Index(None, "created_at", "id"),
        Index(None, "channel_id", "state"),
        Index("ix_promotion_pending_expires_at", "expires_at", postgresql_where=_PENDING),
        Index("ix_promotion_pending_due_at", "due_at", postgresql_where=_PENDING),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    channel_id: Mapped[UUID] = mapped_column(ForeignKey("channel.id"))
    reason: Mapped[str]
    state: Mapped[PromotionState] = mapped_column(one_of(PromotionState))
    requested_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    policy_id: Mapped[UUID] = mapped_column(ForeignKey("policy.id"))
    decision: Mapped[dict[str, Any]]
    evidence_digest: Mapped[str]
    subject_digest: Mapped[str]
    # When the approval subject last changed: earlier approvals lapsed and the wait restarted.
    subject_since: Mapped[datetime]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    # When it executes automatically; set once only the policy's wait remains.
    due_at: Mapped[datetime | None] = mapped_column(default=None)
    closed_at: Mapped[datetime | None] = mapped_column(default=None)
    closing_reason: Mapped[str | None] = mapped_column(default=None)
    break_glass: Mapped[bool] = mapped_column(default=False, server_default="false")

    shares: Mapped[list["PromotionShare"]] = relationship(
        lazy="raise", default_factory=list, repr=False, order_by="PromotionShare.weight.desc()"
    )
    reviews: Mapped[list["ReviewRow"]] = relationship(
        lazy="raise", default_factory=list, repr=False, order_by="ReviewRow.reviewed_at"
    )
    channel: Mapped[Channel] = relationship(lazy="raise", init=False, repr=False)
    requested_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)

    # Lists read these instead of complete decisions, which are large and rarely needed.
    decision_outline: Mapped[dict[str, Any] | None] = query_expression(repr=False)
    decision_json: Mapped[str | None] = query_expression(repr=False)

    @property
    def outline(self) -> dict[str, Any]:
        """The decision's result, candidates and evaluations; findings may be missing."""
        return self.decision if self.decision_outline is None else self.decision_outline


class PromotionShare(Base):
    """A version's share of the traffic that a promotion requests, in basis points."""

    __tablename__ = "promotion_share"
    __table_args__ = (
        CheckConstraint(_IS_A_WEIGHT, name="weight_in_range"),
        {"info": APPEND_ONLY},
    )

    promotion_id: Mapped[UUID] = mapped_column(
        ForeignKey("promotion.id"), primary_key=True, init=False
    )
    version_id: Mapped[UUID] = mapped_column(ForeignKey("version.id"), primary_key=True, index=True)
    weight: Mapped[int]

    version: Mapped[Version] = relationship(lazy="raise", init=False, repr=False)


class ReviewRow(Base):
    """A reviewer's verdict on one exact approval subject: the allocation, evidence and policy."""

    __tablename__ = "review"
    __table_args__ = (
        UniqueConstraint("promotion_id", "reviewer_id", "subject_digest", "reviewed_at"),
        is_digest("subject_digest"),
        {"info": APPEND_ONLY},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    promotion_id: Mapped[UUID] = mapped_column(ForeignKey("promotion.id"), init=False)
    reviewer_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    verdict: Mapped[Verdict] = mapped_column(one_of(Verdict))
    comment: Mapped[str]
    subject_digest: Mapped[str]
    reviewed_at: Mapped[datetime]

    reviewer: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)
