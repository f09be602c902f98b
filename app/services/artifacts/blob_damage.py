"""Marking stored objects as damaged, and as repaired."""

from app.db.blobs import add_damage, remove_damage, versions_with
from app.db.session import Sessions
from app.domain.audit.chain import REGISTRY, Facts, subject_of
from app.domain.identity.access import any_caller
from app.domain.naming import Json, PrefixName
from app.services.transactions import transactions_of_server


def mark(sessions: Sessions, *, digest: str, problem: str) -> list[str]:
    """Mark the versions that contain an object as damaged; return their names.

    The damage is recorded once, on the chain of each prefix with such a version, or on the
    registry's own if the object belongs to evaluations alone.
    """
    transactions = transactions_of_server(sessions)
    with transactions.begin("version.damage", any_caller) as transaction:
        session = transaction.session
        versions = versions_with(session, digest)
        names = [f"{version.prefix.full_name}@{version.number}" for version in versions]
        if not add_damage(session, digest, problem, transaction.now):
            return names
        facts: Facts
        numbers: dict[PrefixName, list[Json]] = {}
        for version in versions:
            numbers.setdefault(version.prefix.full_name, []).append(version.number)
        if not numbers:
            facts = {"digest": digest, "versions": [], "problem": problem}
            transaction.record("version.damage", facts, subject=REGISTRY)
        for prefix in sorted(numbers):
            facts = {"digest": digest, "versions": numbers[prefix], "problem": problem}
            transaction.record("version.damage", facts, subject=subject_of(prefix))
        return names


def unmark(sessions: Sessions, *, digest: str) -> None:
    """Remove the damage mark of an object that is intact again, and record the repair."""
    transactions = transactions_of_server(sessions)
    with transactions.begin("version.repair", any_caller) as transaction:
        session = transaction.session
        if not remove_damage(session, digest):
            return
        prefixes = {each.prefix.full_name for each in versions_with(session, digest)}
        for subject in sorted(map(subject_of, prefixes)) or [REGISTRY]:
            transaction.record("version.repair", {"digest": digest}, subject=subject)
