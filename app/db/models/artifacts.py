"""Tables of artifacts: base models, prefixes, versions, files, pulls and revocations."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, composite, mapped_column, relationship

from app.db.models.base import APPEND_ONLY, DISPOSABLE, Base, is_digest, one_of
from app.db.models.identity import Principal
from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.manifest import revision_of
from app.domain.artifacts.pulls import PullWay
from app.domain.naming import PrefixName


class BaseModelRow(Base):
    """A frozen model, identified by the digest of its weight files."""

    __tablename__ = "base_model"
    __table_args__ = (
        is_digest("digest"),
        CheckConstraint("parameters > 0", name="parameters_positive"),
        Index(None, "name", "revision"),
        Index("ix_base_model_lower_name", text("lower(name)")),
        {"info": APPEND_ONLY},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    digest: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    revision: Mapped[str | None]
    parameters: Mapped[int] = mapped_column(BigInteger)
    licence: Mapped[str | None]
    geometry: Mapped[Geometry] = composite(
        mapped_column("model_type"),
        mapped_column("layers"),
        mapped_column("attention_heads"),
        mapped_column("kv_heads"),
        mapped_column("head_dim"),
        mapped_column("hidden_size"),
        mapped_column("context_window"),
    )
    created_at: Mapped[datetime]
    created_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))

    created_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)


class Prefix(Base):
    """A named series of versions. A lock on its row serialises version numbers and audit chain."""

    __tablename__ = "prefix"
    __table_args__ = (
        UniqueConstraint("namespace", "name"),
        # Names that differ by case only would be mistaken for each other. The namespace comes last,
        # so that no list is read in the order of this index.
        Index("ix_prefix_lower_name_namespace", text("lower(name)"), "namespace", unique=True),
        CheckConstraint("namespace = lower(namespace)", name="namespace_lower_case"),
        Index(
            "ix_prefix_name_endings",
            text("name_endings(namespace, name)"),
            postgresql_using="gin",
            # With fast updates, new names go to a pending list that every search scans.
            postgresql_with={"fastupdate": "off"},
        ),
        CheckConstraint("last_number >= 0", name="last_number_not_negative"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    namespace: Mapped[str]
    name: Mapped[str]
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    description: Mapped[str]
    intended_uses: Mapped[list[str]]
    created_at: Mapped[datetime]
    created_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    last_number: Mapped[int] = mapped_column(default=0, server_default="0")

    owner: Mapped[Principal] = relationship(
        foreign_keys=[owner_id], lazy="raise", init=False, repr=False
    )
    created_by: Mapped[Principal] = relationship(
        foreign_keys=[created_by_id], lazy="raise", init=False, repr=False
    )

    @property
    def full_name(self) -> PrefixName:
        return PrefixName(self.namespace, self.name)


class PrefixBaseModel(Base):
    """Records that a prefix has a version for a base model, so that lists need not read versions.

    It holds names instead of an id, so that the primary key is in the order of the lists.
    """

    __tablename__ = "prefix_base_model"
    __table_args__ = (
        ForeignKeyConstraint(["namespace", "name"], ["prefix.namespace", "prefix.name"]),
        {"info": APPEND_ONLY},
    )

    base_model_id: Mapped[UUID] = mapped_column(ForeignKey("base_model.id"), primary_key=True)
    namespace: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)


class Content(Base):
    """The numbers of a prefix for a base model: evidence and revocations are about them.

    Versions of any prefix share it if a base model computes the same with them.
    """

    __tablename__ = "content"
    __table_args__ = (
        is_digest("digest"),
        CheckConstraint("length(sketch) = 256", name="sketch_complete"),
        # Even if all norms are alike, three numbers of the sketch select a small share of the
        # contents of a base model. The query reads a range of the first, and checks the others in
        # the index.
        Index(
            "ix_content_near",
            "base_model_id",
            "virtual_tokens",
            "sketch_1",
            "sketch_2",
            "sketch_3",
            "norm",
        ),
        {"info": APPEND_ONLY},
    )

    digest: Mapped[str] = mapped_column(primary_key=True)
    base_model_id: Mapped[UUID] = mapped_column(ForeignKey("base_model.id"))
    virtual_tokens: Mapped[int]
    norm: Mapped[float]
    sketch: Mapped[bytes]  # 64 float32, little-endian
    sketch_1: Mapped[float] = mapped_column(REAL)
    sketch_2: Mapped[float] = mapped_column(REAL)
    sketch_3: Mapped[float] = mapped_column(REAL)


class Version(Base):
    """An immutable version of a prefix; the revocation of its content is a separate row."""

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("prefix_id", "number"),
        # Versions with equal files differ in their cards or lineage.
        Index(None, "prefix_id", "digest"),
        Index(None, "content", "prefix_id"),
        is_digest("digest"),
        CheckConstraint("number > 0", name="number_positive"),
        {"info": APPEND_ONLY},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    prefix_id: Mapped[UUID] = mapped_column(ForeignKey("prefix.id"))
    number: Mapped[int]
    digest: Mapped[str]
    content: Mapped[str] = mapped_column(ForeignKey("content.digest"))
    base_model_id: Mapped[UUID] = mapped_column(ForeignKey("base_model.id"))
    peft_type: Mapped[str]
    virtual_tokens: Mapped[int]
    dtype: Mapped[str]
    parameters: Mapped[int] = mapped_column(BigInteger)
    key_norms: Mapped[list[float]]
    value_norms: Mapped[list[float]]
    remarks: Mapped[list[str]]
    card: Mapped[dict[str, Any]]
    lineage: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))

    files: Mapped[list["VersionFile"]] = relationship(
        lazy="raise", order_by="VersionFile.name", default_factory=list, repr=False
    )
    prefix: Mapped[Prefix] = relationship(lazy="raise", init=False, repr=False)
    base_model: Mapped[BaseModelRow] = relationship(lazy="raise", init=False, repr=False)
    created_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)
    revocation: Mapped["Revocation | None"] = relationship(
        primaryjoin="Version.content == foreign(Revocation.content)",
        viewonly=True,
        lazy="raise",
        init=False,
        repr=False,
        uselist=False,
    )

    @property
    def revision(self) -> str:
        return revision_of(self.digest)

    @property
    def parameter_fraction(self) -> float:
        return self.parameters / self.base_model.parameters


class VersionFile(Base):
    """A file of a version. The object store holds its bytes under their digest."""

    __tablename__ = "version_file"
    __table_args__ = (
        is_digest("sha256"),
        CheckConstraint("size_bytes >= 0", name="size_not_negative"),
        Index(None, "sha256"),
        {"info": APPEND_ONLY},
    )

    version_id: Mapped[UUID] = mapped_column(ForeignKey("version.id"), primary_key=True, init=False)
    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class Pull(Base):
    """How often a principal pulled a version in one way, so that a recall can notify it."""

    __tablename__ = "pull"
    __table_args__ = (CheckConstraint("times > 0", name="times_positive"),)

    version_id: Mapped[UUID] = mapped_column(ForeignKey("version.id"), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), primary_key=True)
    way: Mapped[PullWay] = mapped_column(one_of(PullWay), primary_key=True)
    times: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]

    principal: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)


class Revocation(Base):
    """The revocation of a content, which is never served again, with the reason.

    `version_id` and `namespace` say where it was revoked.
    """

    __tablename__ = "revocation"
    __table_args__ = (Index(None, "version_id"), {"info": APPEND_ONLY})

    content: Mapped[str] = mapped_column(ForeignKey("content.digest"), primary_key=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("version.id"))
    namespace: Mapped[str]
    reason: Mapped[str]
    revoked_at: Mapped[datetime]
    revoked_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))

    revoked_by: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)

    def reason_in(self, namespace: str) -> str:
        """Return the reason as it is given to members of a namespace."""
        if namespace == self.namespace:
            return self.reason
        return "Its content was revoked in another namespace."


class Withdrawal(Base):
    """A prefix that has a revoked content and has not withdrawn it from its channels yet."""

    __tablename__ = "withdrawal"
    __table_args__ = ({"info": DISPOSABLE},)

    content: Mapped[str] = mapped_column(ForeignKey("content.digest"), primary_key=True)
    prefix_id: Mapped[UUID] = mapped_column(ForeignKey("prefix.id"), primary_key=True)
