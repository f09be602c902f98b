"""Use cases of principals lock the registry's chain first, and only then the rows they change.

Two use cases that took the same locks in different orders would wait for each other in a circle.
"""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db import audit
from app.db.models import ApiToken, Principal
from app.domain.audit.chain import REGISTRY
from tests.support.observing import eventually, keeps_another_waiting

NOT_WAITING = {"nowait": True, "key_share": True}


CALLS = {
    "set-grants": ("PUT", "/v1/grants", {"principal": "{name}", "grants": []}),
    "set-identities": ("PUT", "/v1/principals/{name}/identities", {"identities": []}),
    "issue-token": ("POST", "/v1/tokens", {"principal": "{name}"}),
    "revoke-token": ("DELETE", "/v1/tokens/{token}", None),
    "deactivate": ("DELETE", "/v1/principals/{name}", None),
}


@pytest.mark.parametrize(("method", "path", "body"), CALLS.values(), ids=CALLS.keys())
def test_the_chain_is_locked_before_the_rows(world, sessions, method, path, body):
    name, _ = world.a_principal()
    issued = world.made("POST", "/v1/tokens", by="admin", json={"principal": name})
    path = path.format(name=name, token=issued["id"])
    if body and "principal" in body:
        body = body | {"principal": name}

    with ThreadPoolExecutor(1) as thread:
        with sessions.begin() as session:
            audit.lock_chain(session, REGISTRY)
            answer = thread.submit(world.call, method, path, by="admin", json=body)
            eventually(lambda: keeps_another_waiting(session))
            # The other call holds neither row, or these would fail at once.
            principal = select(Principal).where(Principal.name == name)
            assert session.scalars(principal.with_for_update(**NOT_WAITING)).one()
            token = select(ApiToken).where(ApiToken.id == UUID(issued["id"]))
            assert session.scalars(token.with_for_update(**NOT_WAITING)).one()
        assert answer.result(timeout=20).is_success
