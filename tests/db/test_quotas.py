"""Quota queries: which namespaces are the fullest."""

import pytest
from sqlalchemy.orm import Session

from app.db.models import QuotaRow
from app.db.quotas import fullest
from app.domain.artifacts.quotas import QuotaLimits

DEFAULTS = QuotaLimits(stored_bytes=1000, versions=1000, requests=1)
ROWS = [
    QuotaRow("test-quarter", used_bytes=250),
    QuotaRow("test-over", used_bytes=90_000, limit_bytes=10),
    QuotaRow("test-many-versions", used_versions=999, limit_versions=1000),
    QuotaRow("test-half-by-its-own-limit", used_bytes=5000, limit_bytes=10_000),
]


@pytest.fixture
def session(engine):
    """A session with some namespaces, which is rolled back."""
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection) as session:
            for row in ROWS:
                session.merge(row)
            session.flush()
            yield session
        transaction.rollback()


def test_namespaces_are_ordered_by_the_fuller_of_their_limits(session):
    names = [row.namespace for row in ROWS]
    found = fullest(session, names, DEFAULTS)
    assert [each.namespace for each in found] == [
        "test-over",
        "test-many-versions",
        "test-half-by-its-own-limit",
        "test-quarter",
    ]
    assert len(fullest(session, names, DEFAULTS, limit=2)) == 2


def test_a_star_stands_for_all_namespaces(session):
    assert fullest(session, ["*"], DEFAULTS)[0].namespace == "test-over"
    assert fullest(session, [], DEFAULTS) == []
    assert [each.namespace for each in fullest(session, ["test-quarter"], DEFAULTS)] == [
        "test-quarter"
    ]
