"""Policies by name and version, and their document's bridge to the idea."""

from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.db.models import PolicyRow
from app.domain.gate import PolicyRef
from app.domain.policies import Policy

# A policy's document and the idea have one shape, so one description serves both.
POLICY: Final = TypeAdapter(Policy)


def policy_versioned(session: Session, name: str, version: int) -> PolicyRow | None:
    statement = select(PolicyRow).where(PolicyRow.name == name, PolicyRow.version == version)
    return session.scalars(statement.options(joinedload(PolicyRow.created_by))).one_or_none()


def latest_policy(session: Session, name: str) -> PolicyRow | None:
    latest = select(func.max(PolicyRow.version)).where(PolicyRow.name == name).scalar_subquery()
    statement = select(PolicyRow).where(PolicyRow.name == name, PolicyRow.version == latest)
    return session.scalars(statement.options(joinedload(PolicyRow.created_by))).one_or_none()


def policy_of(row: PolicyRow) -> Policy:
    return POLICY.validate_python(row.document)


def policy_document(policy: Policy) -> dict[str, Any]:
    """Return the policy as JSON values; durations are ISO 8601."""
    document: dict[str, Any] = POLICY.dump_python(policy, mode="json")
    return document


def policy_ref(row: PolicyRow) -> PolicyRef:
    return PolicyRef(row.name, row.version, row.digest)
