"""Quota queries: the use and limits of namespaces, and their use as the rows have it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Double, cast, func, literal, select, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.db.clock import present_time
from app.db.models import (
    EvaluationFile,
    EvaluationRow,
    Prefix,
    QuotaRow,
    Upload,
    Version,
    VersionFile,
)
from app.domain.artifacts.quotas import (
    Announced,
    NamespaceQuota,
    OwnLimits,
    QuotaLimits,
    Stored,
)
from app.domain.identity.access import EVERYWHERE

_SCANNED: Final = 10_000  # the pages order at most this many namespaces by their use


def quota_of(session: Session, namespace: str) -> NamespaceQuota:
    row = session.scalars(select(QuotaRow).where(QuotaRow.namespace == namespace)).one_or_none()
    return NamespaceQuota(namespace) if row is None else _quota(row)


def lock_quota(session: Session, namespace: str) -> QuotaRow:
    """Return the row of a namespace, locked until the transaction ends; make it if need be."""
    new = insert(QuotaRow).values(namespace=namespace)
    statement = new.on_conflict_do_update(
        index_elements=[QuotaRow.namespace], set_={"namespace": new.excluded.namespace}
    ).returning(QuotaRow)
    return session.scalars(statement.execution_options(populate_existing=True)).one()


def add_use(session: Session, namespace: str, added: Stored) -> NamespaceQuota:
    """Add to the use of a namespace; return it as it was before, locked until the end."""
    new = insert(QuotaRow).values(
        namespace=namespace, used_bytes=added.stored_bytes, used_versions=added.versions
    )
    statement = new.on_conflict_do_update(
        index_elements=[QuotaRow.namespace],
        set_={
            "used_bytes": QuotaRow.used_bytes + new.excluded.used_bytes,
            "used_versions": QuotaRow.used_versions + new.excluded.used_versions,
        },
    ).returning(QuotaRow)
    after = _quota(session.scalars(statement.execution_options(populate_existing=True)).one())
    before = Stored(
        after.used.stored_bytes - added.stored_bytes, after.used.versions - added.versions
    )
    return NamespaceQuota(namespace, before, after.own)


def announced_in(session: Session, namespace: str) -> Announced:
    """Return the sum of the uploads that have not expired; their number is bounded."""
    statement = select(func.count(), func.coalesce(func.sum(Upload.size_bytes), 0)).where(
        Upload.namespace == namespace, Upload.expires_at > present_time()
    )
    uploads, size_bytes = session.execute(statement).one()
    return Announced(uploads, int(size_bytes))


def own_request_limits(session: Session) -> Mapping[str, int]:
    """Return the limits of requests in progress that were set, by namespace."""
    statement = select(QuotaRow.namespace, QuotaRow.limit_requests)
    rows = session.execute(statement.where(QuotaRow.limit_requests.is_not(None)))
    return {namespace: limit for namespace, limit in rows if limit is not None}


def fullest(
    session: Session, namespaces: Collection[str], defaults: QuotaLimits, *, limit: int = 5
) -> Sequence[NamespaceQuota]:
    """Return the quotas of which most is used, of some namespaces or of all (`*`)."""
    statement = select(QuotaRow)
    if EVERYWHERE not in namespaces:
        statement = statement.where(QuotaRow.namespace.in_(namespaces))
    some = statement.order_by(QuotaRow.namespace).limit(_SCANNED).subquery()
    row = aliased(QuotaRow, some)
    share = func.greatest(
        row.used_bytes / _float(func.coalesce(row.limit_bytes, defaults.stored_bytes)),
        row.used_versions / _float(func.coalesce(row.limit_versions, defaults.versions)),
    )
    found = session.scalars(select(row).order_by(share.desc(), row.namespace).limit(limit))
    return [_quota(each) for each in found]


def counted_use(session: Session, namespace: str | None = None) -> Mapping[str, Stored]:
    """Count the use of all namespaces, or of one, from the versions and files themselves."""
    files = select(
        Version.prefix_id, VersionFile.size_bytes.label("size_bytes"), literal(0).label("versions")
    ).join(VersionFile, VersionFile.version_id == Version.id)
    evidence = (
        select(Version.prefix_id, EvaluationFile.size_bytes, literal(0))
        .join(EvaluationRow, EvaluationRow.version_id == Version.id)
        .join(EvaluationFile, EvaluationFile.evaluation_id == EvaluationRow.id)
    )
    versions = select(Version.prefix_id, literal(0), literal(1))
    rows = union_all(files, evidence, versions).subquery()
    statement = (
        select(Prefix.namespace, func.sum(rows.c.size_bytes), func.sum(rows.c.versions))
        .join(rows, rows.c.prefix_id == Prefix.id)
        .group_by(Prefix.namespace)
    )
    if namespace is not None:
        statement = statement.where(Prefix.namespace == namespace)
    return {
        name: Stored(int(size_bytes), int(versions))
        for name, size_bytes, versions in session.execute(statement)
    }


def recorded_use(session: Session) -> Mapping[str, Stored]:
    """Return the counters of all namespaces."""
    columns = (QuotaRow.namespace, QuotaRow.used_bytes, QuotaRow.used_versions)
    return {
        name: Stored(size_bytes, versions)
        for name, size_bytes, versions in session.execute(select(*columns))
    }


def _quota(row: QuotaRow) -> NamespaceQuota:
    used = Stored(row.used_bytes, row.used_versions)
    return NamespaceQuota(
        row.namespace, used, OwnLimits(row.limit_bytes, row.limit_versions, row.limit_requests)
    )


def _float(value: ColumnElement[int]) -> ColumnElement[float]:
    return cast(value, Double)
