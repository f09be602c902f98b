"""Policy queries, and the conversion between a policy's stored document and its value."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, contains_eager, joinedload

from app.db.models import Channel, PolicyRow, Prefix
from app.db.prefixes import is_wholly_visible_to
from app.domain.durations import iso_8601
from app.domain.governance.gate import PolicyRef
from app.domain.governance.policies import Policy
from app.domain.identity.access import Caller

# The stored document and the domain's value have the same shape, so one adapter serves both.
POLICY: Final = TypeAdapter(Policy)


def policy_versioned(session: Session, name: str, version: int) -> PolicyRow | None:
    statement = select(PolicyRow).where(PolicyRow.name == name, PolicyRow.version == version)
    return session.scalars(statement.options(joinedload(PolicyRow.created_by))).one_or_none()


def latest_policy(session: Session, name: str) -> PolicyRow | None:
    latest = select(func.max(PolicyRow.version)).where(PolicyRow.name == name).scalar_subquery()
    statement = select(PolicyRow).where(PolicyRow.name == name, PolicyRow.version == latest)
    return session.scalars(statement.options(joinedload(PolicyRow.created_by))).one_or_none()


def newest_policies(session: Session, *, limit: int = 200) -> Sequence[PolicyRow]:
    """Return the latest version of each policy, ordered by name."""
    statement = (
        select(PolicyRow)
        .ext(distinct_on(PolicyRow.name))
        .order_by(PolicyRow.name, PolicyRow.version.desc())
        .limit(limit)
        .options(joinedload(PolicyRow.created_by))
    )
    return session.scalars(statement).all()


def channels_bound_to(
    session: Session, caller: Caller, name: str, *, limit: int = 100
) -> Sequence[Channel]:
    """Return the channels bound to any version of a policy, of prefixes wholly visible."""
    statement = (
        select(Channel)
        .join(Channel.prefix)
        .join(Channel.policy)
        .where(PolicyRow.name == name, is_wholly_visible_to(caller))
        .order_by(Prefix.namespace, Prefix.name, Channel.name)
        .limit(limit)
        .options(contains_eager(Channel.prefix), contains_eager(Channel.policy))
    )
    return session.scalars(statement).all()


def policy_of(row: PolicyRow) -> Policy:
    return POLICY.validate_python(row.document)


def policy_document(policy: Policy) -> dict[str, Any]:
    """Return the policy as JSON values; durations are ISO 8601 without years."""
    document: dict[str, Any] = POLICY.dump_python(policy, mode="json")
    # Pydantic writes 366 days as P1Y1D, which could not be sent back: a year has no fixed length.
    approvals, max_age = policy.approvals, policy.evidence.max_age
    document["approvals"]["valid_for"] = iso_8601(approvals.valid_for)
    document["approvals"]["wait"] = iso_8601(approvals.wait)
    document["evidence"]["max_age"] = None if max_age is None else iso_8601(max_age)
    return document


def policy_ref(row: PolicyRow) -> PolicyRef:
    return PolicyRef(row.name, row.version, row.digest)
