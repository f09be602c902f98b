"""The audit chain: its entries, how they are sealed, and where a chain breaks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from app.domain.errors import TooLargeError
from app.domain.naming import Json, PrefixName, canonical_digest, canonical_json, rfc3339

GENESIS: Final = f"sha256:{'0' * 64}"
REGISTRY: Final = "registry"
MOST_FACTS_BYTES: Final = 16 * 1024

Facts = Mapping[str, Json]


def subject_of(prefix: PrefixName) -> str:
    """Return the subject whose chain records a prefix's events."""
    return f"prefix:{prefix}"


@dataclass(frozen=True, slots=True)
class Event:
    """An action and its facts.

    `action` is `object.verb`; `facts` hold stable ids, and names as they were at that time.
    """

    subject: str
    at: datetime
    principal: str
    principal_id: UUID
    action: str
    facts: Facts


def require_bounded(facts: Facts) -> None:
    """Check that facts fit into an entry, which can never be removed.

    Raises:
        TooLargeError: They are larger than 16 KiB of canonical JSON.
    """
    size_bytes = len(canonical_json(dict(facts)))
    if size_bytes > MOST_FACTS_BYTES:
        raise TooLargeError(
            f"The audit entry of this change would hold {size_bytes:,} bytes; the limit is "
            f"{MOST_FACTS_BYTES:,}. Send shorter texts, or fewer grants or identities."
        )


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event at its position in its subject's chain."""

    event: Event
    sequence: int
    previous: str
    hash: str


def document_of(event: Event, *, sequence: int, previous: str) -> dict[str, Json]:
    """Return the document that is hashed: an exported line without its `hash`.

    Raises:
        TypeError: A fact contains a float. JSON libraries print floats differently, and a chain
            must verify with any of them.
    """
    facts = dict(event.facts)
    _refuse_floats(facts)
    return {
        "subject": event.subject,
        "sequence": sequence,
        "at": rfc3339(event.at),
        "principal": event.principal,
        "principal_id": str(event.principal_id),
        "action": event.action,
        "facts": facts,
        "previous": previous,
    }


def seal(event: Event, *, length: int, head: str) -> SealedEvent:
    """Bind `event` to a chain of `length` entries ending in `head`: SHA-256 over RFC 8785 JSON."""
    sequence = length + 1
    digest = canonical_digest(document_of(event, sequence=sequence, previous=head))
    return SealedEvent(event, sequence, head, digest)


@dataclass(frozen=True, slots=True)
class Verification:
    """The state of one chain; `first_break` is the first sequence number that is not as sealed."""

    subject: str
    entries: int
    head: str
    first_break: int | None

    @property
    def valid(self) -> bool:
        return self.first_break is None


def verify(subject: str, entries: Iterable[SealedEvent], *, length: int, head: str) -> Verification:
    """Walk a chain in order and return where it first differs from the sealed one.

    `length` and `head` are the recorded end of the chain, so that a truncated chain is found too.
    """
    count, last, first_break = 0, GENESIS, None
    for entry in entries:
        intact = entry.event.subject == subject and _is_sealed(entry, length=count, head=last)
        count, last = count + 1, entry.hash
        if count >= length:
            intact = intact and (count, last) == (length, head)
        if first_break is None and not intact:
            first_break = count
    if first_break is None and (count, last) != (length, head):
        first_break = count + 1
    return Verification(subject, count, last, first_break)


def _is_sealed(entry: SealedEvent, *, length: int, head: str) -> bool:
    try:
        return entry == seal(entry.event, length=length, head=head)
    except (TypeError, ValueError):
        # Facts that cannot be hashed were never sealed, but an intruder can still write them.
        return False


def _refuse_floats(value: Json) -> None:
    if isinstance(value, float):
        raise TypeError("a fact on the audit log may not be a float; write it as a string")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            _refuse_floats(item)
