"""Checkpoint queries: the Merkle tree over the latest entries of the chains, and its roots."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import insert, select, text, tuple_
from sqlalchemy.orm import Session

from app.db.models import AuditChain, AuditCheckpoint, AuditEntry, AuditLeaf, AuditNode
from app.db.paging import Page, PageRequest, page_of
from app.domain.audit.checkpoints import Leaf
from app.domain.audit.merkle import Coordinate

_TREE_LOCK: Final = 0x41554454  # the advisory lock that serialises appends to the tree


def lock_tree(session: Session) -> None:
    """Lock the tree against appends by others until the transaction ends, but not the chains."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TREE_LOCK})


def latest_checkpoint(session: Session) -> AuditCheckpoint | None:
    statement = select(AuditCheckpoint).order_by(AuditCheckpoint.size.desc()).limit(1)
    return session.scalars(statement).one_or_none()


def checkpoint_of(session: Session, size: int) -> AuditCheckpoint | None:
    return session.get(AuditCheckpoint, size)


def checkpoints_page(session: Session, request: PageRequest) -> Page[AuditCheckpoint]:
    key = [AuditCheckpoint.size]
    return page_of(session, select(AuditCheckpoint), key, request, descending=True)


def grown_chains(session: Session) -> Iterator[Leaf]:
    """Yield the latest entry of each chain that is not yet a leaf, in order of subject."""
    known = (
        select(AuditLeaf.index)
        .where(AuditLeaf.subject == AuditChain.subject, AuditLeaf.length == AuditChain.length)
        .exists()
    )
    statement = (
        select(AuditChain.subject, AuditChain.length, AuditChain.head)
        .where(AuditChain.length > 0, ~known)
        .order_by(AuditChain.subject)
    )
    for row in session.execute(statement, execution_options={"yield_per": 500}):
        yield Leaf(*row)


def first_contradiction(session: Session, leaves: Collection[Leaf]) -> str | None:
    """Return the first subject of `leaves` whose stored entries contradict its leaves.

    Both the subject's earlier leaves and its new one are compared with the stored entries.
    """
    subjects = [leaf.subject for leaf in leaves]
    rewritten = (
        select(AuditLeaf.subject)
        .outerjoin(
            AuditEntry,
            (AuditEntry.subject == AuditLeaf.subject)
            & (AuditEntry.sequence == AuditLeaf.length)
            & (AuditEntry.hash == AuditLeaf.head),
        )
        .where(AuditLeaf.subject.in_(subjects), AuditEntry.hash.is_(None))
        .limit(1)
    )
    if (found := session.scalars(rewritten).one_or_none()) is not None:
        return found
    ends = [(leaf.subject, leaf.length) for leaf in leaves]
    statement = select(AuditEntry.subject, AuditEntry.hash).where(
        tuple_(AuditEntry.subject, AuditEntry.sequence).in_(ends)
    )
    stored = dict(iter(session.execute(statement)))
    return next((leaf.subject for leaf in leaves if stored.get(leaf.subject) != leaf.head), None)


def add_leaves(session: Session, leaves: Sequence[Leaf], *, after: int) -> None:
    """Append leaves to a tree of `after` leaves."""
    rows = [
        {"index": index, "subject": leaf.subject, "length": leaf.length, "head": leaf.head}
        for index, leaf in enumerate(leaves, start=after)
    ]
    session.execute(insert(AuditLeaf), rows)


def add_nodes(session: Session, nodes: Mapping[Coordinate, bytes]) -> None:
    rows = [
        {"level": node.level, "index": node.place, "hash": hash_} for node, hash_ in nodes.items()
    ]
    session.execute(insert(AuditNode), rows)


def nodes_at(session: Session, coordinates: Iterable[Coordinate]) -> dict[Coordinate, bytes]:
    """Return the hashes of complete subtrees, in one query."""
    statement = select(AuditNode.level, AuditNode.index, AuditNode.hash).where(
        tuple_(AuditNode.level, AuditNode.index).in_(list(coordinates))
    )
    return {Coordinate(level, index): hash_ for level, index, hash_ in session.execute(statement)}


def latest_leaf(session: Session, subject: str, *, size: int) -> AuditLeaf | None:
    """Return the last leaf of a chain within the first `size` leaves."""
    statement = (
        select(AuditLeaf)
        .where(AuditLeaf.subject == subject, AuditLeaf.index < size)
        .order_by(AuditLeaf.length.desc())
        .limit(1)
    )
    return session.scalars(statement).one_or_none()


def leaves_after(session: Session, index: int, limit: int) -> Sequence[AuditLeaf]:
    statement = select(AuditLeaf).where(AuditLeaf.index > index).order_by(AuditLeaf.index)
    return session.scalars(statement.limit(limit)).all()
