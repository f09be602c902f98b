"""Locking a prefix for a write: it must exist, and the caller must hold the role."""

from uuid import uuid4

import pytest

from app.domain.errors import NotFoundError
from app.domain.identity.access import SYSTEM, Role
from app.domain.naming import PrefixName
from app.services.identity.visibility import lock_prefix_as


def test_a_prefix_that_does_not_exist_cannot_be_locked(sessions, tokens):
    absent = PrefixName(f"absent-{uuid4().hex[:8]}", "voice")
    with sessions.begin() as session, pytest.raises(NotFoundError, match=str(absent)):
        lock_prefix_as(Role.ADMIN, session, SYSTEM, absent)
