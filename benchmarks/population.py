"""A registry of any size: consistent clones of rows that the registry wrote."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import make_url

from app.domain.audit.chain import GENESIS, Event, SealedEvent, seal
from benchmarks.bulk import Connection, Row, copy_lines, deferred_keys, rows_like

# Of ten versions, one belongs to the deep prefix and nine to a new prefix.
PER_PREFIX: Final = 10
PREFIXES_PER_CHANNEL: Final = 2
VERSIONS_PER_EVALUATION: Final = 4
CELLS: Final = 40
# Even at the smallest size, the prefixes of one namespace fill a page, and so do those with a
# channel. Pages then show equally much at every size, and only the rest of the data grows.
PREFIXES_PER_NAMESPACE: Final = 100
DEEP: Final = "team-0/deep"

_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TABLES: Final = (
    *(
        "prefix",
        "prefix_base_model",
        "version",
        "version_file",
        "evaluation",
        "evaluation_cell",
        "channel",
    ),
    *("promotion", "promotion_share", "generation", "generation_share"),
    *("audit_chain", "audit_entry"),
)


def name_of(prefix: int) -> str:
    return DEEP if prefix == 0 else f"team-{prefix // PREFIXES_PER_NAMESPACE}/prefix-{prefix:06}"


@dataclass(slots=True)
class Chain:
    """The end of the deep prefix's audit chain."""

    length: int = 0
    head: str = GENESIS


@dataclass(slots=True)
class Population:
    """The state of the loading, and the original rows to clone."""

    connection: Connection
    versions: int = 0
    deep: Chain = field(default_factory=Chain)
    rows: dict[str, Row] = field(default_factory=dict)
    block: str = ""
    principal: tuple[str, UUID] = ("", UUID(int=0))

    def grow(self, versions: int) -> None:
        """Load rows until there are `versions` versions, a multiple of a hundred."""
        if not self.rows:
            self._read_templates()
        added = range(self.versions, versions)
        with self.connection.transaction(), deferred_keys(self.connection, *_TABLES):
            self._copy("prefix", self._prefixes(added))
            self._copy("prefix_base_model", self._bound(added))
            self._copy("version", self._versions(added))
            self._copy("version_file", self._files(added))
            self._copy("evaluation", self._evaluations(added))
            self._copy("evaluation_cell", self._cells(added))
            self._copy_channels(added)
            self._copy_audit(added)
            statement = "UPDATE prefix SET last_number = %s WHERE id = %s"
            self.connection.execute(statement, [versions // PER_PREFIX, _id("prefix", 0)])
        self.connection.execute("VACUUM ANALYZE")
        self.versions = versions

    def _copy(self, table: str, lines: Iterator[str]) -> None:
        copy_lines(self.connection, table, lines)

    def _read_templates(self) -> None:
        """Read one original row of each table: those of the version that a channel serves."""
        [share] = rows_like(self.connection, "generation_share", "number = 1")
        channel, _, version, _ = share.texts
        found = {
            "generation_share": [share],
            "channel": rows_like(self.connection, "channel", "id = %s", channel),
            "version": rows_like(self.connection, "version", "id = %s", version),
            "version_file": rows_like(self.connection, "version_file", "version_id = %s", version),
            "evaluation": rows_like(self.connection, "evaluation", "version_id = %s", version),
            "generation": rows_like(self.connection, "generation", "channel_id = %s", channel),
            "promotion": rows_like(self.connection, "promotion", "channel_id = %s", channel),
            "prefix": rows_like(self.connection, "prefix", "true"),
            "prefix_base_model": rows_like(self.connection, "prefix_base_model", "true"),
        }
        self.rows = {table: rows[0] for table, rows in found.items()}
        evaluation = self.rows["evaluation"].texts[0]
        where = "evaluation_id = %s"
        cells = rows_like(self.connection, "evaluation_cell", where, evaluation)
        self.block = "\n".join(cell.line(evaluation_id="?") for cell in cells)
        promotion = self.rows["promotion"].texts[0]
        shares = rows_like(self.connection, "promotion_share", "promotion_id = %s", promotion)
        self.rows["promotion_share"] = shares[0]
        found_name = self.connection.execute("SELECT name, id FROM principal WHERE name = 'admin'")
        self.principal = found_name.fetchone() or self.principal

    def _prefixes(self, added: range) -> Iterator[str]:
        row = self.rows["prefix"]
        for number in _new_prefixes(added):
            namespace, _, name = name_of(number).partition("/")
            last = PER_PREFIX - 1 if number else 0
            changes = {"namespace": namespace, "name": name, "last_number": last}
            yield row.line(id=_id("prefix", number), created_at=_at(number), **changes)

    def _bound(self, added: range) -> Iterator[str]:
        row = self.rows["prefix_base_model"]
        for number in _new_prefixes(added):
            namespace, _, name = name_of(number).partition("/")
            yield row.line(namespace=namespace, name=name)

    def _versions(self, added: range) -> Iterator[str]:
        row = self.rows["version"]
        for number in added:
            prefix, place = _place(number)
            yield row.line(
                id=_id("version", number),
                prefix_id=_id("prefix", prefix),
                number=place,
                digest=_digest("version", number),
                created_at=_at(number),
            )

    def _files(self, added: range) -> Iterator[str]:
        row = self.rows["version_file"]
        for number in added:
            version = _id("version", number)
            for name in ("adapter_config.json", "adapter_model.safetensors"):
                yield row.line(version_id=version, name=name, sha256=_digest(name, number))

    def _evaluations(self, added: range) -> Iterator[str]:
        row = self.rows["evaluation"]
        for number in added[::VERSIONS_PER_EVALUATION]:
            yield row.line(
                id=_id("evaluation", number),
                version_id=_id("version", number),
                digest=_digest("evaluation", number),
                recorded_at=_at(number),
            )

    def _cells(self, added: range) -> Iterator[str]:
        for number in added[::VERSIONS_PER_EVALUATION]:
            yield self.block.replace("?", _id("evaluation", number))

    def _copy_channels(self, added: range) -> None:
        """Give every other prefix a channel that serves its last version after a promotion."""
        chosen = [number for number in _new_prefixes(added) if number % PREFIXES_PER_CHANNEL == 0]
        # Version with the prefix's last number; the deep prefix serves its first version.
        served = {prefix: prefix * PER_PREFIX - 1 if prefix else 0 for prefix in chosen}

        def key(each: int) -> dict[str, object]:
            return {"channel_id": _id("channel", each), "number": 1}

        self._clone(
            "channel",
            chosen,
            lambda each: {"id": _id("channel", each), "prefix_id": _id("prefix", each)},
        )
        self._clone(
            "promotion",
            chosen,
            lambda each: {
                "id": _id("promotion", each),
                "channel_id": _id("channel", each),
                "created_at": _at(each),
            },
        )
        self._clone(
            "promotion_share",
            chosen,
            lambda each: {
                "promotion_id": _id("promotion", each),
                "version_id": _id("version", served[each]),
            },
        )
        self._clone(
            "generation",
            chosen,
            lambda each: (
                key(each) | {"promotion_id": _id("promotion", each), "executed_at": _at(each)}
            ),
        )
        self._clone(
            "generation_share",
            chosen,
            lambda each: key(each) | {"version_id": _id("version", served[each])},
        )

    def _clone(
        self, table: str, numbers: Iterable[int], changes: Callable[[int], dict[str, object]]
    ) -> None:
        row = self.rows[table]
        self._copy(table, (row.line(**changes(each)) for each in numbers))

    def _copy_audit(self, added: range) -> None:
        """Seal a chain with one entry for each new prefix, and extend that of the deep prefix."""
        created = [each for each in _new_prefixes(added) if each]
        sealed = [self._sealed(each, "prefix.create", Chain()) for each in created]
        chain_lines = [_chain_line(one) for one in sealed]
        for number in added[::PER_PREFIX]:
            one = self._sealed(0, "version.register", self.deep, version=_place(number)[1])
            self.deep = Chain(one.sequence, one.hash)
            sealed.append(one)
        # A trigger allows the end of a chain to move by one entry only, so delete and reload it.
        self.connection.execute("ALTER TABLE audit_chain DISABLE TRIGGER USER")
        self.connection.execute("DELETE FROM audit_chain WHERE subject = %s", [_subject(0)])
        self.connection.execute("ALTER TABLE audit_chain ENABLE TRIGGER USER")
        self._copy("audit_chain", iter([*chain_lines, _chain_line(sealed[-1])]))
        self._copy("audit_entry", (_entry_line(one) for one in sealed))

    def _sealed(self, prefix: int, action: str, end: Chain, **facts: int) -> SealedEvent:
        name, principal_id = self.principal
        at = _EPOCH + timedelta(seconds=prefix + end.length)
        payload = {"prefix_id": _id("prefix", prefix)} | facts
        event = Event(_subject(prefix), at, name, principal_id, action, payload)
        return seal(event, length=end.length, head=end.head)


def connect(owner_url: str) -> Connection:
    """Return a connection of the tables' owner, for loading."""
    target = make_url(owner_url).set(drivername="postgresql")
    connection: Connection = psycopg.connect(
        target.render_as_string(hide_password=False), autocommit=True
    )
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("SET synchronous_commit = off")
    return connection


def _place(version: int) -> tuple[int, int]:
    """Return the prefix of a version and its number there."""
    decade, unit = divmod(version, PER_PREFIX)
    return (0, decade + 1) if unit == 0 else (decade + 1, unit)


def _new_prefixes(added: range) -> range:
    first = added.start // PER_PREFIX + 1 if added.start else 0
    return range(first, added.stop // PER_PREFIX + 1)


def _subject(prefix: int) -> str:
    return f"prefix:{name_of(prefix)}"


def _id(kind: str, number: int) -> str:
    return str(UUID(bytes=hashlib.blake2b(f"{kind}-{number}".encode(), digest_size=16).digest()))


def _digest(kind: str, number: int) -> str:
    return f"sha256:{hashlib.sha256(f'{kind}-{number}'.encode()).hexdigest()}"


def _at(number: int) -> str:
    return (_EPOCH + timedelta(seconds=number)).isoformat()


def _chain_line(one: SealedEvent) -> str:
    return f"{one.event.subject}\t{one.sequence}\t{one.hash}"


def _entry_line(one: SealedEvent) -> str:
    event = one.event
    facts: dict[str, Any] = dict(event.facts)
    texts = (
        *(event.subject, str(one.sequence), event.at.isoformat(), event.principal),
        *(str(event.principal_id), event.action, json.dumps(facts), one.previous, one.hash),
    )
    return "\t".join(texts)
