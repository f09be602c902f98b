"""Registering suites, open or sealed by a manifest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from sqlalchemy.orm import Session

from app.db.evaluations import SUITE, suite_spelled_like, suite_versioned
from app.db.models import SuiteManifest, SuiteManifestCell, SuiteRow
from app.db.session import expect
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import AlreadyExistsError, Fault, InvalidSuiteError
from app.domain.evidence.suites import Suite, suite_faults
from app.domain.identity.access import EVERYWHERE, Role, role_in
from app.domain.naming import canonical_digest
from app.services.artifacts.spooled_files import require_pinned, store_pinned
from app.services.evidence.manifests import ReceivedManifest, received_manifest, refused_manifest
from app.services.transactions import Transaction, Transactions
from app.storage.blobs import Blobs


def register(
    transactions: Transactions, blobs: Blobs, *, suite: Suite, manifest: BinaryIO | None = None
) -> tuple[SuiteRow, bool]:
    """Register an immutable suite version; also return whether it is new.

    A manifest seals the suite: its samples are those of every run, and its digest becomes the
    data set's.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        InvalidSuiteError: The suite or its manifest contradicts itself; the error lists the faults.
        AlreadyExistsError: The version is registered with a different definition, or differs
            from a registered one by case only.
    """
    role_in(Role.ADMIN, EVERYWHERE)(transactions.caller)
    suite = replace(suite, sealed=manifest is not None)
    if faults := suite_faults(suite):
        raise InvalidSuiteError(f"The suite {suite} is invalid; see faults.", faults)
    if manifest is None:
        return _register(transactions, blobs, suite, None)
    with _sealed(suite, manifest) as (sealed, received):
        return _register(transactions, blobs, sealed, received)


@contextmanager
def _sealed(suite: Suite, manifest: BinaryIO) -> Iterator[tuple[Suite, ReceivedManifest]]:
    """Yield the suite with the digest of its manifest, which must be the one given, if any."""
    with received_manifest(manifest, suite) as received:
        found = received.file.sha256
        if suite.dataset_digest not in ("", found):
            message = f"dataset_digest is {suite.dataset_digest}, and the manifest has {found}."
            raise refused_manifest([Fault("digest-differs", message)])
        yield replace(suite, dataset_digest=found), received


def _register(
    transactions: Transactions, blobs: Blobs, suite: Suite, received: ReceivedManifest | None
) -> tuple[SuiteRow, bool]:
    needs = role_in(Role.ADMIN, EVERYWHERE)
    document = SUITE.dump_python(suite, mode="json")
    digest = canonical_digest(document)
    files = [] if received is None else [received.file]
    with transactions.read() as session:
        if (known := _known(session, suite, digest)) is not None:
            return known, False
    store_pinned(transactions, blobs, files)
    with transactions.begin("suite.register", needs, subject=REGISTRY) as transaction:
        session = transaction.session
        if (known := _known(session, suite, digest)) is not None:
            return known, False
        require_pinned(session, files)
        row = _row(suite, document, digest, transaction)
        session.add(row)
        session.flush()
        if received is not None:
            session.add_all(_manifest_rows(row, received))
        facts: Facts = {"suite": suite.name, "version": suite.version, "digest": digest}
        transaction.record("suite.register", facts)
        return expect(suite_versioned(session, suite.name, suite.version)), True


def _known(session: Session, suite: Suite, digest: str) -> SuiteRow | None:
    """Return the registered version with this definition, None if the label is free."""
    known = suite_spelled_like(session, suite.name, suite.version)
    if known is None:
        return None
    if known.version != suite.version:
        message = (
            f"The version {known.version} of the suite {known.name} exists; choose a version that "
            "differs not by case only."
        )
        raise AlreadyExistsError(message)
    if known.digest != digest:
        message = f"{suite} is registered with a different definition; register a new version."
        raise AlreadyExistsError(message)
    return known


def _row(
    suite: Suite, document: dict[str, object], digest: str, transaction: Transaction
) -> SuiteRow:
    return SuiteRow(
        name=suite.name,
        version=suite.version,
        document=document,
        digest=digest,
        created_at=transaction.now,
        created_by_id=transaction.caller.id,
    )


def _manifest_rows(
    suite: SuiteRow, received: ReceivedManifest
) -> list[SuiteManifest | SuiteManifestCell]:
    cells = [
        SuiteManifestCell(
            suite_id=suite.id,
            persona=persona,
            locale=locale,
            samples=len(cell.keys),
            keys_packed=cell.keys.tobytes(),
            clusters_packed=cell.clusters.tobytes(),
        )
        for (persona, locale), cell in received.manifest.cells.items()
    ]
    return [SuiteManifest(suite.id, received.file.sha256, received.file.size_bytes), *cells]
