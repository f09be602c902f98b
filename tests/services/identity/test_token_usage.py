"""The last use of a token: when it is recorded again."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy.exc import SQLAlchemyError

from app.db.tokens import ValidToken
from app.domain.identity.access import Caller, PrincipalKind
from app.domain.identity.credentials import ServerCredential
from app.services.identity.token_usage import RECORDING_INTERVAL, TokenUsage
from tests.support.observing import eventually

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


class CountedSessions:
    """Counts the writes that are tried, and lets them fail."""

    def __init__(self):
        self.tried = 0

    def begin(self):
        self.tried += 1
        raise SQLAlchemyError


def a_token(last_used_at):
    caller = Caller(uuid4(), "fleet", PrincipalKind.SERVICE, frozenset(), ServerCredential())
    return ValidToken(uuid4(), caller, NOW + timedelta(days=1), last_used_at)


@pytest.mark.parametrize(
    "last_used_at", [None, NOW - RECORDING_INTERVAL], ids=["unused", "at-the-interval"]
)
def test_a_use_is_recorded_from_the_end_of_the_interval(last_used_at):
    sessions = CountedSessions()
    TokenUsage(sessions).note(a_token(last_used_at), NOW)
    eventually(lambda: sessions.tried == 1)


def test_a_use_within_the_interval_is_not_recorded():
    sessions = CountedSessions()
    uses = TokenUsage(sessions)
    uses.note(a_token(NOW - RECORDING_INTERVAL + TICK), NOW)
    uses.note(a_token(None), NOW)  # one thread writes in the order of the uses
    eventually(lambda: sessions.tried > 0)
    assert sessions.tried == 1
