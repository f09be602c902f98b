"""Checkpoints of the audit log as a whole, with proofs of inclusion and of consistency."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy.orm import Session

from app.db import checkpoints
from app.db.models import AuditCheckpoint, AuditLeaf
from app.domain.audit.chain import REGISTRY
from app.domain.audit.checkpoints import Leaf, Signer, is_signed_by, signed_checkpoint, verifier_key
from app.domain.audit.merkle import (
    EMPTY_ROOT,
    Span,
    complete_subtrees,
    consistency_path,
    growth,
    hash_of,
    inclusion_path,
)
from app.domain.errors import (
    AuditLogBrokenError,
    CheckpointsNotConfiguredError,
    Fault,
    InvalidRequestError,
    NotFoundError,
)
from app.domain.identity.access import EVERYWHERE, Role, role_in
from app.services.transactions import Transactions

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Proof that a chain's latest entry is leaf `leaf.index` of the tree of `size` leaves."""

    leaf: AuditLeaf
    size: int
    root: bytes
    path: list[bytes]


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """Proof that the first `first` leaves of the tree of `second` leaves are unchanged."""

    first: int
    second: int
    first_root: bytes
    second_root: bytes
    path: list[bytes]


def take(transactions: Transactions, *, signer: Signer | None) -> tuple[AuditCheckpoint, bool]:
    """Append the latest entry of every chain that has grown to the tree, and sign the tree.

    Writers of audit entries do not wait for this. Also returns whether the checkpoint is new: if
    no chain has grown since the latest checkpoint, that one is returned. A change of the signing
    key or origin since the latest checkpoint is recorded as an audit entry.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        CheckpointsNotConfiguredError: No signing key is configured.
        AuditLogBrokenError: The entries or the tree contradict an earlier checkpoint, so a
            signature on the current state would contradict the earlier one.
    """
    needs = role_in(Role.ADMIN, EVERYWHERE)
    needs(transactions.caller)
    signer = require_signer(signer)
    # A checkpoint is no event of its own: an entry for it would make the log grow by each one.
    with transactions.begin_unaudited("checkpoint.take", needs) as transaction:
        session = transaction.session
        checkpoints.lock_tree(session)
        latest = checkpoints.latest_checkpoint(session)
        before = 0 if latest is None else latest.size
        _require_root(session, before, EMPTY_ROOT if latest is None else latest.root)
        if latest is not None and not is_signed_by(signer, latest.note):
            facts = {"verifier_key": verifier_key(signer)}
            transaction.record("signer.change", facts, subject=REGISTRY)
        size = _grow(session, before)
        if latest is not None and size == before:
            return latest, False
        (root,) = _hashes(session, [Span(0, size)])
        taken = AuditCheckpoint(
            size=size,
            root=root,
            note=signed_checkpoint(size, root, signer),
            taken_at=transaction.now,
            taken_by=transaction.caller.name,
        )
        session.add(taken)
    return taken, True


def require_signer(signer: Signer | None) -> Signer:
    """Return the signer.

    Raises:
        CheckpointsNotConfiguredError: No signer is configured.
    """
    if signer is None:
        message = (
            "Set REGISTRY_CHECKPOINT_KEY_FILE to a file with an Ed25519 private key in PEM "
            "(`openssl genpkey -algorithm ed25519` creates one), and REGISTRY_CHECKPOINT_ORIGIN to "
            "the name that appears in signatures, such as registry.example.com/audit."
        )
        raise CheckpointsNotConfiguredError(message)
    return signer


def checkpoint(session: Session, size: int | None = None) -> AuditCheckpoint:
    """Return the latest checkpoint, or the one of the given size.

    Raises:
        NotFoundError: There is no such checkpoint.
    """
    if size is None:
        found = checkpoints.latest_checkpoint(session)
        missing = "There are no checkpoints yet; take one with POST /v1/audit/checkpoints."
    else:
        found = checkpoints.checkpoint_of(session, size)
        missing = f"There is no checkpoint of {size} leaves; GET /v1/audit/checkpoints lists all."
    if found is None:
        raise NotFoundError(missing)
    return found


def prove_inclusion(session: Session, *, subject: str, size: int | None) -> InclusionProof:
    """Prove that a checkpoint (the latest, or the one of `size`) covers a chain's first entries.

    Raises:
        NotFoundError: There is no such checkpoint, or it does not cover the chain.
    """
    root_of = checkpoint(session, size)
    leaf = checkpoints.latest_leaf(session, subject, size=root_of.size)
    if leaf is None:
        message = f"The checkpoint of {root_of.size} leaves covers no entries of {subject}."
        raise NotFoundError(message)
    path = _hashes(session, inclusion_path(leaf.index, root_of.size))
    return InclusionProof(leaf, root_of.size, root_of.root, path)


def prove_consistency(session: Session, *, first: int, second: int | None) -> ConsistencyProof:
    """Prove that a later checkpoint (the latest, or the one of `second`) extends an earlier one.

    Raises:
        NotFoundError: One of the checkpoints does not exist.
        InvalidRequestError: `first` is larger than `second`.
    """
    newer = checkpoint(session, second)
    older = checkpoint(session, first)
    if older.size > newer.size:
        message = f"first ({first}) must be the smaller size; the second is {newer.size}."
        raise InvalidRequestError(message, [Fault("wrong_order", message)])
    path = consistency_path(older.size, newer.size) if older.size else []
    hashes = _hashes(session, path)
    return ConsistencyProof(older.size, newer.size, older.root, newer.root, hashes)


def _grow(session: Session, size: int) -> int:
    """Append the grown chains to a tree of `size` leaves; return the new size."""
    leaves = checkpoints.grown_chains(session)
    while batch := list(islice(leaves, _BATCH)):
        _require_unbroken(session, batch)
        edge = checkpoints.nodes_at(session, complete_subtrees(Span(0, size)))
        grown = dict(growth(size, edge, (leaf.hashed() for leaf in batch)))
        checkpoints.add_leaves(session, batch, after=size)
        checkpoints.add_nodes(session, grown)
        size += len(batch)
    return size


def _require_root(session: Session, size: int, root: bytes) -> None:
    try:
        (found,) = _hashes(session, [Span(0, size)])
    except KeyError:
        found = None
    if found != root:
        message = (
            f"The root of the tree's first {size} leaves differs from the signed root: the "
            "database was changed. Compare an export with a checkpoint that you keep elsewhere."
        )
        raise AuditLogBrokenError(message)


def _require_unbroken(session: Session, batch: list[Leaf]) -> None:
    broken = checkpoints.first_contradiction(session, batch)
    if broken is not None:
        message = (
            f"The chain of {broken} differs from an earlier checkpoint, or its last entries are "
            f"missing: the database was changed. GET /v1/audit/verify?subject={broken} and an "
            "older export show where."
        )
        raise AuditLogBrokenError(message)


def _hashes(session: Session, spans: Iterable[Span]) -> list[bytes]:
    """Return the hash of each span; one query reads the subtrees of all spans."""
    wanted = list(spans)
    nodes = checkpoints.nodes_at(session, [c for span in wanted for c in complete_subtrees(span)])
    return [hash_of(span, nodes) for span in wanted]
