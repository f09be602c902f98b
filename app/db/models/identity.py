"""Tables of identity: principals, grants, federated identities, tokens, sessions and logins."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.models.base import DISPOSABLE, Base, one_of
from app.domain.identity.access import PrincipalKind, Role


class Principal(Base):
    """A principal, which acts in the registry: a human, a pipeline or a fleet."""

    __tablename__ = "principal"
    __table_args__ = (Index("ix_principal_lower_name", text("lower(name)"), unique=True),)

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
    """A role of a principal in one namespace, or in all of them (`*`)."""

    __tablename__ = "role_grant"
    __table_args__ = (
        UniqueConstraint("principal_id", "role", "namespace"),
        CheckConstraint("namespace = lower(namespace)", name="namespace_lower_case"),
        {"info": DISPOSABLE},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), init=False)
    role: Mapped[Role] = mapped_column(one_of(Role))
    namespace: Mapped[str]


class FederatedIdentityRow(Base):
    """Claims of an issuer's tokens that are bound to a principal."""

    __tablename__ = "federated_identity"
    __table_args__ = (UniqueConstraint("issuer", "claims"), {"info": DISPOSABLE})

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), index=True, init=False)
    issuer: Mapped[str]
    claims: Mapped[dict[str, Any]]


class ApiToken(Base):
    """A bearer token, of which only the hash is stored."""

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
    """A signed-in session of the pages, which ends with the token or identity that opened it.

    The cookie's value is random and replaced while the session lasts; only its hash is stored. The
    previous value stays valid for a moment, for requests in flight during the replacement.
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
    """An OIDC login that waits for the issuer's response; deleting it uses it up.

    Of the state in the issuer's response and of the browser's cookie, only hashes are stored.
    """

    __tablename__ = "login_attempt"
    __table_args__ = (Index(None, "expires_at"), {"info": DISPOSABLE})

    state_hash: Mapped[str] = mapped_column(primary_key=True, repr=False)
    browser_hash: Mapped[str] = mapped_column(repr=False)
    issuer: Mapped[str]
    target: Mapped[str]
    expires_at: Mapped[datetime]
