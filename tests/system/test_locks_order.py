"""Use cases of principals lock the registry's chain first, and only then the rows they change.

Two use cases that took the same locks in different orders would wait for each other in a circle.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db import audit
from app.db.models import ApiToken, FederatedIdentityRow, Principal, WebSession
from app.domain.audit.chain import REGISTRY
from app.domain.identity.access import PrincipalKind
from app.domain.identity.oidc import FederatedIdentity, Issuer
from app.oidc.issuers import Issuers
from app.services.identity import web_sessions
from app.services.identity.principals import set_identities
from app.services.transactions import transactions_of_server
from tests.support.observing import eventually, keeps_another_waiting

CI = "https://ci.example"
IN_2100 = 4_102_444_800  # seconds since 1970
ISSUER = Issuer(
    url=CI,
    audience="https://registry.example",
    kind=PrincipalKind.HUMAN,
    algorithms=frozenset({"RS256"}),
    jwks_url=f"{CI}/keys",
    max_age=timedelta(hours=1),
    leeway=timedelta(seconds=30),
)
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


def takes_the_chain_before(sessions, row, call):
    """Call while another transaction holds the chain; the row must be free until it ends."""
    with ThreadPoolExecutor(1) as thread:
        with sessions.begin() as session:
            audit.lock_chain(session, REGISTRY)
            called = thread.submit(call)
            eventually(lambda: keeps_another_waiting(session))
            assert session.scalars(row.with_for_update(nowait=True)).one()
        return called.result(timeout=20)


def test_signing_out_locks_the_chain_before_the_session(sessions, tokens):
    opened = web_sessions.sign_in(sessions, token=tokens["reader"])
    row = select(WebSession).where(WebSession.id == opened.session_id)
    sign_out = partial(web_sessions.sign_out, sessions, visit=opened)
    takes_the_chain_before(sessions, row, sign_out)
    assert web_sessions.visit(sessions, cookie=opened.cookie) is None


def test_signing_in_at_an_issuer_locks_the_chain_before_the_identity(world, sessions):
    name, _ = world.a_principal()
    identity = FederatedIdentity(CI, {"sub": name})
    server = transactions_of_server(sessions)
    set_identities(server, Issuers([ISSUER]), name=name, identities=[identity])
    held = select(FederatedIdentityRow).where(FederatedIdentityRow.claims == {"sub": name})
    claims = {"sub": name, "iat": IN_2100, "exp": IN_2100}
    opened = takes_the_chain_before(
        sessions,
        held,
        lambda: web_sessions.sign_in_as(sessions, issuer=ISSUER, claims=claims),
    )
    assert opened.caller.name == name
