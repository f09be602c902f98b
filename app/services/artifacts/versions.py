"""Pushing versions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.db.base_models import base_model_by_digest, base_models_named, bind
from app.db.models import BaseModelRow, Prefix, Version, VersionFile
from app.db.near_copies import content_row
from app.db.session import expect
from app.db.versions import add_content, version_numbered, version_pushed
from app.domain.artifacts.adapter_config import AdapterConfig
from app.domain.artifacts.content import content_digest
from app.domain.artifacts.manifest import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    ArtifactFile,
    manifest_digest,
    manifest_of,
)
from app.domain.artifacts.near_copies import content_sketch
from app.domain.artifacts.prefix import PrefixProperties, TensorScan
from app.domain.artifacts.quotas import QuotaLimits, Stored
from app.domain.audit.chain import Facts, subject_of
from app.domain.errors import (
    Fault,
    InvalidArtifactError,
    QuotaExceededError,
    UnknownBaseModelError,
)
from app.domain.identity.access import Role, role_on
from app.domain.naming import Json, PrefixName
from app.services.artifacts.quotas import charge, require_room
from app.services.artifacts.spooled_files import ReceivedFile, require_pinned, store_pinned
from app.services.identity.visibility import lock_existing_prefix, visible_prefix
from app.services.transactions import Transaction, Transactions
from app.storage.artifacts import inspect
from app.storage.blobs import Blobs


@dataclass(frozen=True, slots=True)
class Push:
    """A push by a training pipeline: the artifact, its base model's digest, card and lineage."""

    base_model: str
    config: ReceivedFile
    weights: ReceivedFile
    card: Mapping[str, Json]
    lineage: Mapping[str, Json]


def push(
    transactions: Transactions,
    blobs: Blobs,
    *,
    prefix: PrefixName,
    pushed: Push,
    quota: QuotaLimits,
) -> tuple[Version, bool]:
    """Check an artifact, store its bytes, then register it; also return whether it is new.

    Pushing the same files with the same card and lineage again returns the existing version, and
    nothing changes or is recorded. The same numbers with other files, another card or another
    lineage are a new version of the same content: its evidence and revocation stay. `quota`
    applies where the namespace sets no limit.

    Raises:
        NotFoundError: The prefix does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not a publisher of this prefix.
        UnknownBaseModelError: The base model's digest is not registered.
        InvalidArtifactError: The artifact is not a well-formed prefix for that base model; the
            error lists all faults.
        QuotaExceededError: The version would pass the quota of the namespace.
    """
    needs = role_on(Role.PUBLISHER, prefix)
    needs(transactions.caller)
    base = _base_model(transactions, prefix, pushed)
    inspected = _inspect(transactions, pushed, base)
    files = [pushed.config.named(CONFIG_FILE), pushed.weights.named(WEIGHTS_FILE)]
    received = [pushed.config, pushed.weights]
    manifest = manifest_of(files, base_model=base.digest, peft_type=inspected.facts.peft_type)
    digest = manifest_digest(manifest)
    added = Stored(sum(file.size_bytes for file in files), versions=1)
    _require_room(transactions, prefix, digest, pushed, added, quota)
    store_pinned(transactions, blobs, received)
    with transactions.begin("version.push", needs, subject=subject_of(prefix)) as transaction:
        session = transaction.session
        require_pinned(session, received)
        row = lock_existing_prefix(session, prefix)
        known = version_pushed(session, row.id, digest, pushed.card, pushed.lineage)
        if known is not None:
            return known, False
        sketch = content_sketch(inspected.scan, inspected.facts.virtual_tokens)
        add_content(session, content_row(inspected.content, base, sketch))
        version = _row(row, base, pushed, inspected, digest, files, transaction)
        session.add(version)
        bind(session, prefix, base)
        _record_push(transaction, version, base)
        charge(session, prefix.namespace, added, quota)
        return expect(version_numbered(session, prefix, version.number)), True


def _base_model(transactions: Transactions, prefix: PrefixName, pushed: Push) -> BaseModelRow:
    """Return the base model to check against; the prefix must exist before anything is stored."""
    with transactions.read() as session:
        visible_prefix(session, transactions.caller, prefix)
        base = base_model_by_digest(session, pushed.base_model)
    if base is None:
        raise UnknownBaseModelError(
            f"The base model {pushed.base_model} is not registered; register it with "
            "POST /v1/base-models first."
        )
    return base


def _require_room(
    transactions: Transactions,
    prefix: PrefixName,
    digest: str,
    pushed: Push,
    added: Stored,
    defaults: QuotaLimits,
) -> None:
    """Check the quota before anything is stored; a push that is a version already adds nothing."""
    try:
        require_room(transactions, prefix.namespace, added, defaults)
    except QuotaExceededError:
        with transactions.read() as session:
            row = visible_prefix(session, transactions.caller, prefix)
            if version_pushed(session, row.id, digest, pushed.card, pushed.lineage) is None:
                raise


@dataclass(frozen=True, slots=True)
class _Inspected:
    facts: PrefixProperties
    scan: TensorScan
    content: str


def _inspect(transactions: Transactions, pushed: Push, base: BaseModelRow) -> _Inspected:
    pushed.config.content.seek(0)
    found = inspect(
        pushed.config.content.read(),
        pushed.weights.content,
        geometry=base.geometry,
        base_parameters=base.parameters,
    )
    faults = [*found.faults, *_name_faults(transactions, found.config, base)]
    if faults or found.properties is None or found.scan is None:
        message = f"The artifact has {len(faults)} fault(s); see faults."
        raise InvalidArtifactError(message, faults)
    content = content_digest(
        found.tensors, base_model=base.digest, peft_type=found.properties.peft_type
    )
    return _Inspected(found.properties, found.scan, content)


def _name_faults(
    transactions: Transactions, config: AdapterConfig | None, base: BaseModelRow
) -> Iterator[Fault]:
    """Yield a fault if the configuration names a different registered base model.

    PEFT would load that one. A name that is not registered, such as a local path, is ignored.
    """
    if config is None or config.base_model_name in (None, base.name):
        return
    with transactions.read() as session:
        named = base_models_named(session, config.base_model_name)
    if named:
        yield Fault(
            "config-base-model",
            f"base_model_name_or_path is {config.base_model_name}, which is registered with digest "
            f"{named[0].digest}, but the push names {base.digest}.",
        )


def _row(
    prefix: Prefix,
    base: BaseModelRow,
    pushed: Push,
    inspected: _Inspected,
    digest: str,
    files: list[ArtifactFile],
    transaction: Transaction,
) -> Version:
    """Return the next version; the lock on the prefix makes version numbers gapless."""
    prefix.last_number += 1
    facts, scan = inspected.facts, inspected.scan
    return Version(
        prefix_id=prefix.id,
        number=prefix.last_number,
        digest=digest,
        content=inspected.content,
        base_model_id=base.id,
        peft_type=facts.peft_type,
        virtual_tokens=facts.virtual_tokens,
        dtype=facts.dtype,
        parameters=facts.parameters,
        key_norms=list(scan.key_norms),
        value_norms=list(scan.value_norms),
        remarks=list(facts.remarks),
        card=dict(pushed.card),
        lineage=dict(pushed.lineage),
        created_at=transaction.now,
        created_by_id=transaction.caller.id,
        files=[VersionFile(file.name, file.sha256, file.size_bytes) for file in files],
    )


def _record_push(transaction: Transaction, version: Version, base: BaseModelRow) -> None:
    facts: Facts = {
        "version": version.number,
        "version_id": str(version.id),
        "digest": version.digest,
        "content": version.content,
        "base_model": base.digest,
    }
    transaction.record("version.push", facts)
