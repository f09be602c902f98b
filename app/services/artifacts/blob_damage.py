"""Marking stored objects as damaged, and as repaired by a read or by a push."""

from app.db.blobs import add_damage, damaged_digests, remove_damage, versions_with
from app.db.session import Sessions
from app.domain.audit.chain import REGISTRY, Facts, subject_of
from app.domain.errors import DamagedObjectError
from app.domain.identity.access import any_caller
from app.domain.naming import Json, PrefixName
from app.services.transactions import Transactions, transactions_of_server
from app.storage.blobs import Blobs, Replaced, read_whole


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


def is_marked(sessions: Sessions, digest: str) -> bool:
    with sessions() as session:
        return bool(damaged_digests(session, [digest]))


def unmark(sessions: Sessions, *, digest: str) -> None:
    """Remove the damage mark of an object that is intact again, and record the repair."""
    _unmark(transactions_of_server(sessions), digest)


def record_replacement(transactions: Transactions, *, digest: str, fault: Replaced) -> None:
    """Record that a push replaced an object that was not intact, and remove its damage mark."""
    with transactions.begin(
        "storage.repair", any_caller, subject=REGISTRY, apart=True
    ) as transaction:
        transaction.record("storage.repair", {"digest": digest, "fault": fault.value})
    _unmark(transactions, digest)


def damage_of(blobs: Blobs, digest: str) -> DamagedObjectError | None:
    """Return the damage that two reads of an object found; None if one of them was right.

    One bad read may be the fault of a connection.
    """
    damage = None
    for _ in range(2):
        try:
            read_whole(blobs, digest)
        except DamagedObjectError as error:
            damage = error
        else:
            return None
    return damage


def _unmark(transactions: Transactions, digest: str) -> None:
    with transactions.begin("version.repair", any_caller, apart=True) as transaction:
        session = transaction.session
        if not remove_damage(session, digest):
            return
        prefixes = {each.prefix.full_name for each in versions_with(session, digest)}
        for subject in sorted(map(subject_of, prefixes)) or [REGISTRY]:
            transaction.record("version.repair", {"digest": digest}, subject=subject)
