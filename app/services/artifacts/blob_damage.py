"""Marking stored objects as damaged, and as repaired."""

from datetime import datetime

from app.db import audit
from app.db.blobs import add_damage, remove_damage, versions_with
from app.db.session import Sessions
from app.domain.audit.chain import Facts, audit_event, subject_of
from app.domain.identity.access import SYSTEM
from app.domain.naming import PrefixName


def mark(sessions: Sessions, *, digest: str, problem: str, now: datetime) -> list[str]:
    """Mark the versions that contain an object as damaged; return their names.

    The damage is recorded once, on the chain of each prefix with such a version.
    """
    with sessions.begin() as session:
        versions = versions_with(session, digest)
        names = [f"{version.prefix.full_name}@{version.number}" for version in versions]
        if not add_damage(session, digest, problem, now):
            return names
        numbers: dict[PrefixName, list[int]] = {}
        for version in versions:
            numbers.setdefault(version.prefix.full_name, []).append(version.number)
        for prefix in sorted(numbers):
            facts: Facts = {"digest": digest, "versions": numbers[prefix], "problem": problem}
            event = audit_event(subject_of(prefix), "version.damage", facts, caller=SYSTEM, now=now)
            audit.append(session, event)
        return names


def unmark(sessions: Sessions, *, digest: str, now: datetime) -> None:
    """Remove the damage mark of an object that is intact again, and record the repair."""
    with sessions.begin() as session:
        if not remove_damage(session, digest):
            return
        for prefix in sorted({each.prefix.full_name for each in versions_with(session, digest)}):
            facts: Facts = {"digest": digest}
            event = audit_event(subject_of(prefix), "version.repair", facts, caller=SYSTEM, now=now)
            audit.append(session, event)
