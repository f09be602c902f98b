"""Authority queries: what a caller may do, read again under a lock that keeps it so."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, null, select
from sqlalchemy.orm import Session

from app.db.clock import present_time, registry_time
from app.db.models import ApiToken, FederatedIdentityRow, Principal, RoleGrant, WebSession
from app.domain.identity.access import Caller, Grant
from app.domain.identity.credentials import (
    Credential,
    FederatedCredential,
    ServerCredential,
    SessionCredential,
    TokenCredential,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """A caller whose credential is valid, as it was read at `read_at`."""

    caller: Caller
    expires_at: datetime
    read_at: datetime


def lock_authority(session: Session, caller: Caller) -> Authority | None:
    """Read a caller's authority again; None if it has ended.

    Every change of a principal's grants, tokens and identities locks the principal's row for
    itself, and the end of a session deletes its row. The shared locks here therefore keep the
    authority until the transaction ends: a change that takes it away waits, or came first.
    """
    principal = select(Principal.id).where(Principal.id == caller.id)
    session.execute(principal.with_for_update(read=True))
    if isinstance(caller.credential, SessionCredential):
        opened = select(WebSession.id).where(WebSession.id == caller.credential.session_id)
        session.execute(opened.with_for_update(read=True, key_share=True))
    # A second statement: the first one's snapshot is older than the lock that it waited for.
    return read_authority(session, caller)


def read_authority(session: Session, caller: Caller) -> Authority | None:
    """Read a caller's authority again, without keeping it; None if it has ended."""
    rows = session.execute(_valid(caller.id, caller.credential)).all()
    if not rows:
        return None
    principal, expires_at, channels, _, _, read_at = rows[0]
    grants = frozenset(Grant(row.role, row.namespace) for row in rows if row.role is not None)
    limit = None if channels is None else frozenset(channels)
    found = Caller(principal.id, principal.name, principal.kind, grants, caller.credential, limit)
    return Authority(found, expires_at, read_at)


def _valid(principal_id: UUID, credential: Credential) -> Select[Any]:
    """Return the query of a principal with its grants, empty unless the credential is valid."""
    if isinstance(credential, TokenCredential):
        statement, expires = _with_token(credential.token_id)
    elif isinstance(credential, SessionCredential):
        statement, expires = _with_session(credential.session_id)
    elif isinstance(credential, FederatedCredential):
        statement, expires = _with_identity(credential)
    elif isinstance(credential, ServerCredential):
        raise TypeError("the server's own authority does not end")
    else:
        assert_never(credential)
    held = statement.outerjoin(RoleGrant, RoleGrant.principal_id == Principal.id)
    active = Principal.deactivated_at.is_(None)
    return held.where(Principal.id == principal_id, active, expires > present_time())


def _with_token(token_id: UUID) -> tuple[Select[Any], ColumnElement[datetime]]:
    expires = ApiToken.expires_at.expression
    statement = _granted(expires, ApiToken.channels)
    return statement.join(ApiToken, _is_unrevoked(token_id)), expires


def _with_session(session_id: UUID) -> tuple[Select[Any], ColumnElement[datetime]]:
    expires = func.least(WebSession.expires_at, ApiToken.expires_at)
    statement = (
        _granted(expires, ApiToken.channels)
        .join(WebSession, WebSession.id == session_id)
        .outerjoin(ApiToken, _is_unrevoked(WebSession.token_id))
        .outerjoin(FederatedIdentityRow, _is_bound(WebSession.identity_id))
        .where(func.num_nonnulls(ApiToken.id, FederatedIdentityRow.id) == 1)
    )
    return statement, expires


def _with_identity(held: FederatedCredential) -> tuple[Select[Any], ColumnElement[datetime]]:
    expires = literal(held.expires_at)
    statement = _granted(expires, null())
    return statement.join(FederatedIdentityRow, _is_bound(held.identity_id)), expires


def _granted(expires: Any, channels: Any) -> Select[Any]:  # noqa: ANN401 - columns of any table
    return select(
        Principal, expires, channels, RoleGrant.role, RoleGrant.namespace, registry_time()
    ).select_from(Principal)


def _is_unrevoked(token_id: Any) -> ColumnElement[bool]:  # noqa: ANN401 - a value or a column
    of_principal = ApiToken.principal_id == Principal.id
    return and_(ApiToken.id == token_id, of_principal, ApiToken.revoked_at.is_(None))


def _is_bound(identity_id: Any) -> ColumnElement[bool]:  # noqa: ANN401 - a value or a column
    of_principal = FederatedIdentityRow.principal_id == Principal.id
    return and_(FederatedIdentityRow.id == identity_id, of_principal)
