"""A furnished registry with callers of every kind, and a record of their statements."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event, text

from app.db.session import engine_for, sessions_on
from app.domain.identity.access import EVERYWHERE, Role
from app.main import app_of
from tests.api.access import Held
from tests.services.evidence.test_suites_sealed import a_manifest, seal
from tests.support.builders import World
from tests.support.session.in_process import InProcessClient

CALLERS = [*((role, held) for role in Role for held in Held), (None, Held.ELSEWHERE)]
LIMITED = "limited"
ANONYMOUS = "anonymous"

WRITES = text(
    "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_user_tables"
)


class Recorder:
    """Records the statements on one connection, whose transaction every request joins."""

    def __init__(self, engine):
        self.connection = engine.connect()
        self.statements = []
        event.listen(self.connection, "before_cursor_execute", self._note)

    def _note(self, _connection, _cursor, statement, *_):
        if not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            self.statements.append(statement)

    @contextmanager
    def rolled_back(self):
        """Roll back all changes in the block, including those that the server committed."""
        transaction = self.connection.begin()
        try:
            yield
        finally:
            transaction.rollback()

    def writes(self):
        return self.connection.scalar(WRITES)


@pytest.fixture(scope="module")
def recorder(stores):
    engine = engine_for(stores.postgres.service_url, pool_size=1)
    recorder = Recorder(engine)
    yield recorder
    recorder.connection.close()
    engine.dispose()


@pytest.fixture(scope="module")
def governed(app, parts, tokens, recorder):
    """A world with objects of every kind, and callers with every role at every scope."""
    with InProcessClient(app, raise_server_exceptions=False) as client:
        world = World(client, dict(tokens))
        world.names = {}
        places = {Held.HERE: world.namespace, Held.EVERYWHERE: EVERYWHERE, Held.ELSEWHERE: "away"}
        for role, held in CALLERS:
            grants = [] if role is None else [(role, places[held])]
            world.names[role, held], world.tokens[role, held] = world.a_principal(None, *grants)
        world.tokens[LIMITED] = world.a_token("admin", channels=["production"])
        furnish(world)
    with InProcessClient(
        app_of(replace(parts, sessions=sessions_on(recorder.connection))),
        raise_server_exceptions=False,
    ) as world.client:
        yield world
    with InProcessClient(app) as world.client:
        # Other tests count the eligible approvers.
        everywhere = world.names[Role.APPROVER, Held.EVERYWHERE]
        world.call("DELETE", f"/v1/principals/{everywhere}", by="admin")


def furnish(world):
    """Create two released versions, one that waits for approval, and their related objects."""
    world.a_live_version(seed=1)
    world.live = world.a_live_version(seed=2)
    world.waiting = world.an_evaluated_version(seed=3)
    world.policy = world.a_policy()
    world.pending = {
        held: world.request(world.waiting, by=(Role.PUBLISHER, held)).json()
        for held in (Held.HERE, Held.EVERYWHERE)
    }
    listed = world.made("GET", f"{world.path}/versions/3/evaluations", by="publisher")
    world.evaluation = listed["items"][0]
    world.sampled = sampled(world)
    world.sealed_suite = seal(world, a_manifest()).json()["name"]
    world.checkpoint = world.made("POST", "/v1/audit/checkpoints", by="admin")
    world.other_principal, _ = world.a_principal()
    query = {"principal": world.other_principal}
    world.token_id = world.made("GET", "/v1/tokens", by="admin", params=query)["items"][0]["id"]


def sampled(world):
    """Record an evaluation with samples."""
    report = world.report(world.live, results=[])
    row = {"id": "q-1", "persona": "novice", "locale": "en", "scores": {"tone": 1}}
    files = {
        "evaluation": ("evaluation", json.dumps(report)),
        "samples": ("samples", json.dumps(row)),
    }
    path = f"{world.path}/versions/{world.live['number']}/evaluations"
    return world.made("POST", path, by="evaluator", files=files)
