"""Locking a prefix for a change: it must exist."""

from uuid import uuid4

import pytest

from app.domain.errors import NotFoundError
from app.domain.naming import PrefixName
from app.services.identity.visibility import lock_existing_prefix


def test_a_prefix_that_does_not_exist_cannot_be_locked(sessions, tokens):
    absent = PrefixName(f"absent-{uuid4().hex[:8]}", "voice")
    with sessions.begin() as session, pytest.raises(NotFoundError, match=str(absent)):
        lock_existing_prefix(session, absent)
