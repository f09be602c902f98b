"""Principals, their grants, their identities elsewhere, their tokens and their sessions."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.models.base import DISPOSABLE, Base, one_of
from app.domain.identity.access import PrincipalKind, Role


class Principal(Base):
    """Somebody or something that acts: a person, a pipeline, a fleet."""

    __tablename__ = "principal"

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[PrincipalKind] = mapped_column(one_of(PrincipalKind))
    created_at: Mapped[datetime]
    deactivated_at: Mapped[datetime | None] = mapped_column(default=None)

    grants: Mapped[list["RoleGrant"]] = relationship(
        lazy="raise",
        cascade="all, delete-orphan",
        order_by="RoleGrant.namespace, RoleGrant.role",
        default_factory=list,
        repr=False,
    )
    identities: Mapped[list["FederatedIdentityRow"]] = relationship(
        lazy="raise",
        cascade="all, delete-orphan",
        order_by="FederatedIdentityRow.issuer, FederatedIdentityRow.claims",
        default_factory=list,
        repr=False,
    )


class RoleGrant(Base):
    """One role of one principal in one namespace, or in all of them (`*`)."""

    __tablename__ = "role_grant"
    __table_args__ = (
        UniqueConstraint("principal_id", "role", "namespace"),
        {"info": DISPOSABLE},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), init=False)
    role: Mapped[Role] = mapped_column(one_of(Role))
    namespace: Mapped[str]


class FederatedIdentityRow(Base):
    """Whoever bears an issuer's token with these claims is the principal."""

    __tablename__ = "federated_identity"
    __table_args__ = (UniqueConstraint("issuer", "claims"), {"info": DISPOSABLE})

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), index=True, init=False)
    issuer: Mapped[str]
    claims: Mapped[dict[str, Any]]


class ApiToken(Base):
    """A bearer token, known only by its hash."""

    __tablename__ = "api_token"

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), index=True)
    hash: Mapped[str] = mapped_column(unique=True, repr=False)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    channels: Mapped[list[str] | None] = mapped_column(default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)

    principal: Mapped[Principal] = relationship(lazy="raise", init=False, repr=False)


class WebSession(Base):
    """A way into the pages, dead with what it was opened with: a token, or a binding of claims.

    The cookie's value is random, changes while the session lasts, and is known only by its
    hash; the one before stays good for the requests that were on their way when it changed.
    """

    __tablename__ = "web_session"
    __table_args__ = (
        CheckConstraint("num_nonnulls(token_id, identity_id) = 1", name="opened_with_one"),
        Index(None, "former_hash"),
        Index(None, "expires_at"),
        {"info": DISPOSABLE},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    token_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_token.id"), index=True)
    identity_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("federated_identity.id"), index=True
    )
    hash: Mapped[str] = mapped_column(unique=True, repr=False)
    form_token: Mapped[str] = mapped_column(repr=False)
    created_at: Mapped[datetime]
    renewed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    former_hash: Mapped[str | None] = mapped_column(default=None, repr=False)


class LoginAttempt(Base):
    """A sign-in that was begun and waits for the issuer's answer; taking it away is using it.

    Neither what the issuer sends back nor what the browser keeps is here, but for its hash.
    """

    __tablename__ = "login_attempt"
    __table_args__ = (Index(None, "expires_at"), {"info": DISPOSABLE})

    state_hash: Mapped[str] = mapped_column(primary_key=True, repr=False)
    browser_hash: Mapped[str] = mapped_column(repr=False)
    issuer: Mapped[str]
    target: Mapped[str]
    expires_at: Mapped[datetime]
