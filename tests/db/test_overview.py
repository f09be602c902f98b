"""The overview's counts, to the instant."""

from datetime import datetime, timedelta
from uuid import uuid4

from app.db.overview import counts
from app.domain.identity.access import Caller, Grant, PrincipalKind, Role
from app.domain.identity.credentials import ServerCredential

TICK = timedelta(microseconds=1)


def test_at_its_very_expiry_a_promotion_is_no_longer_pending(world, sessions):
    promotion = world.a_promotion()
    expiry = datetime.fromisoformat(promotion["expires_at"])
    grants = frozenset({Grant(Role.APPROVER, world.namespace)})
    caller = Caller(uuid4(), "person", PrincipalKind.HUMAN, grants, ServerCredential())
    with sessions() as session:
        assert counts(session, caller, expiry - TICK).pending.number == 1
        assert counts(session, caller, expiry).pending.number == 0
