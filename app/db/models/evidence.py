"""Tables of evidence: suites, evaluations, their cells, files and scores."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.models.artifacts import BaseModelRow, Version
from app.db.models.base import APPEND_ONLY, Base, is_digest, one_of
from app.db.models.identity import Principal
from app.domain.evidence.evaluation import EvidenceKind


class SuiteRow(Base):
    """A registered suite version; `document` describes its metrics, personas and locales."""

    __tablename__ = "suite"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index("ix_suite_name_lower_version", "name", text("lower(version)"), unique=True),
        is_digest("digest"),
        {"info": APPEND_ONLY},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    name: Mapped[str]
    version: Mapped[str]
    document: Mapped[dict[str, Any]]
    digest: Mapped[str]
    created_at: Mapped[datetime]
    created_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))

    created_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)


class SuiteManifest(Base):
    """The manifest of a sealed suite. The object store holds its lines under their digest."""

    __tablename__ = "suite_manifest"
    __table_args__ = (
        is_digest("sha256"),
        CheckConstraint("size_bytes > 0", name="size_positive"),
        Index(None, "sha256"),
        {"info": APPEND_ONLY},
    )

    suite_id: Mapped[UUID] = mapped_column(ForeignKey("suite.id"), primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class SuiteManifestCell(Base):
    """The samples of a persona and locale in a manifest, packed as in `EvaluationScores`.

    They are derived from the manifest, so that recording reads nothing from the object store.
    """

    __tablename__ = "suite_manifest_cell"
    __table_args__ = (
        CheckConstraint("samples > 0", name="samples_positive"),
        {"info": APPEND_ONLY},
    )

    suite_id: Mapped[UUID] = mapped_column(ForeignKey("suite.id"), primary_key=True)
    persona: Mapped[str] = mapped_column(primary_key=True)
    locale: Mapped[str] = mapped_column(primary_key=True)
    samples: Mapped[int]
    keys_packed: Mapped[bytes]
    clusters_packed: Mapped[bytes]


class EvaluationRow(Base):
    """A run of a suite on a version or, as a control run, on a bare base model.

    It is evidence about the version's content. `scope` is the namespace in which the evaluator
    held the role, or `*`: in other namespaces it counts against a version, but not for it.
    """

    __tablename__ = "evaluation"
    __table_args__ = (
        CheckConstraint("(version_id IS NULL) <> (base_model_id IS NULL)", name="of_one_subject"),
        CheckConstraint("(version_id IS NULL) = (content IS NULL)", name="of_a_content"),
        is_digest("digest"),
        CheckConstraint(
            "partial = (cardinality(partial_reasons) > 0)", name="says_why_it_is_partial"
        ),
        CheckConstraint("evidence_level BETWEEN 0 AND 3", name="level_is_known"),
        CheckConstraint(
            "(evidence_level = 0) = (level_reason IS NOT NULL)", name="says_why_it_is_reported"
        ),
        Index(None, "content", "recorded_at", "id"),
        Index(None, "base_model_id", "recorded_at", "id"),
        {"info": APPEND_ONLY},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    version_id: Mapped[UUID | None] = mapped_column(ForeignKey("version.id"))
    content: Mapped[str | None] = mapped_column(ForeignKey("content.digest"))
    base_model_id: Mapped[UUID | None] = mapped_column(ForeignKey("base_model.id"))
    suite_id: Mapped[UUID] = mapped_column(ForeignKey("suite.id"))
    digest: Mapped[str]
    kind: Mapped[EvidenceKind] = mapped_column(one_of(EvidenceKind))
    evidence_level: Mapped[int] = mapped_column(SmallInteger)
    level_reason: Mapped[str | None]
    partial: Mapped[bool]
    partial_reasons: Mapped[list[str]]
    harness: Mapped[dict[str, Any]]
    settings: Mapped[dict[str, Any]]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    evaluator_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    scope: Mapped[str]

    cells: Mapped[list["EvaluationCell"]] = relationship(
        lazy="raise",
        order_by="EvaluationCell.metric, EvaluationCell.persona, EvaluationCell.locale",
        default_factory=list,
        repr=False,
    )
    files: Mapped[list["EvaluationFile"]] = relationship(
        lazy="raise", order_by="EvaluationFile.name", default_factory=list, repr=False
    )
    version: Mapped[Version | None] = relationship(lazy="raise", init=False, repr=False)
    base_model: Mapped[BaseModelRow | None] = relationship(lazy="raise", init=False, repr=False)
    suite: Mapped[SuiteRow] = relationship(lazy="raise", init=False, repr=False)
    evaluator: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)
    voided: Mapped["EvaluationVoid | None"] = relationship(
        lazy="raise", init=False, repr=False, uselist=False
    )

    @property
    def missing(self) -> int:
        """The number of scores that a sealed suite demands and the run lacks, over all cells."""
        return sum(cell.missing for cell in self.cells)


class EvaluationCell(Base):
    """An aggregate of an evaluation, for one metric, persona and locale.

    `missing` of its samples have no score, and count as the worst value of the metric.
    """

    __tablename__ = "evaluation_cell"
    __table_args__ = (
        CheckConstraint("samples > 0", name="samples_positive"),
        CheckConstraint("stderr >= 0", name="stderr_not_negative"),
        CheckConstraint("missing BETWEEN 0 AND samples", name="missing_in_samples"),
        {"info": APPEND_ONLY},
    )

    evaluation_id: Mapped[UUID] = mapped_column(
        ForeignKey("evaluation.id"), primary_key=True, init=False
    )
    metric: Mapped[str] = mapped_column(primary_key=True)
    persona: Mapped[str] = mapped_column(primary_key=True)
    locale: Mapped[str] = mapped_column(primary_key=True)
    samples: Mapped[int]
    mean: Mapped[float]
    stderr: Mapped[float | None]
    missing: Mapped[int] = mapped_column(default=0)


class EvaluationFile(Base):
    """A file of an evaluation. The object store holds its bytes under their digest."""

    __tablename__ = "evaluation_file"
    __table_args__ = (
        is_digest("sha256"),
        CheckConstraint("size_bytes >= 0", name="size_not_negative"),
        Index(None, "sha256"),
        {"info": APPEND_ONLY},
    )

    evaluation_id: Mapped[UUID] = mapped_column(
        ForeignKey("evaluation.id"), primary_key=True, init=False
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class EvaluationScores(Base):
    """The samples of a cell, packed so that a comparison can read them quickly.

    They are derived from the submitted samples: keys and clusters as 64-bit integers and scores as
    double precision numbers, all little-endian, as on every supported machine.
    """

    __tablename__ = "evaluation_scores"
    __table_args__ = ({"info": APPEND_ONLY},)

    evaluation_id: Mapped[UUID] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    persona: Mapped[str] = mapped_column(primary_key=True)
    locale: Mapped[str] = mapped_column(primary_key=True)
    keys_packed: Mapped[bytes]
    values_packed: Mapped[bytes]
    clusters_packed: Mapped[bytes]


class EvaluationVoid(Base):
    """The voiding of an evaluation, which then no longer counts but is kept, with the reason."""

    __tablename__ = "evaluation_void"
    __table_args__ = ({"info": APPEND_ONLY},)

    evaluation_id: Mapped[UUID] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    reason: Mapped[str]
    voided_at: Mapped[datetime]
    voided_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))

    voided_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)
