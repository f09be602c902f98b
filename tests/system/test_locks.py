"""Two callers of one use case: the second waits for the first to commit, and then sees its change.

The first call runs in a transaction that is still open when the second begins. A use case that
read before it locked would decide on what it read, and fail at a constraint or do the work twice.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from app.db.session import sessions_on
from tests.support.builders import a_base_model, a_policy, a_suite
from tests.support.observing import eventually, keeps_another_waiting


@dataclass
class Race:
    """A call made twice, with the statuses of its two answers and the entries that both leave."""

    prepare: object
    call: object
    statuses: tuple[int, int]
    entries: dict[str, int] = field(default_factory=dict)


def posted(path, by):
    return lambda world, body: world.call("POST", path, by=by, json=body)


def a_suite_and_policy(world):
    world.a_suite()
    return a_policy(world.suite)


def a_version_and_policy(world):
    world.a_version()
    return world.a_policy()


def an_issued_token(world):
    name, _ = world.a_principal()
    return world.made("POST", "/v1/tokens", by="admin", json={"principal": name})


def an_evaluation(world):
    return world.evaluate(world.an_evaluated_version()).json()


def a_control_run(world):
    world.a_base(own=True)
    world.a_prefix()
    report = world.report(world.an_evaluated_version(), digest=world.base)
    return world.made(
        "POST", f"/v1/base-models/{world.base}/evaluations", by="evaluator", json=report
    )


def two_generations(world):
    for seed in (1, 2):
        world.a_live_version(seed)


def a_promotion_of_one_approval(world):
    version = world.a_version()
    world.a_channel(approvals={"required": 1})
    world.evaluate(version)
    return world.request(version).json()


RACES = {
    "create-principal": Race(
        lambda world: {"name": f"twin-{world.namespace}", "kind": "human"},
        posted("/v1/principals", "admin"),
        (201, 409),
    ),
    "create-prefix": Race(
        lambda world: {"namespace": world.namespace, "name": "voice", "owner": "admin"},
        posted("/v1/prefixes", "publisher"),
        (201, 409),
        {"prefix.create": 1},
    ),
    "register-base-model": Race(
        lambda world: a_base_model(), posted("/v1/base-models", "publisher"), (201, 200)
    ),
    "register-suite": Race(lambda world: a_suite(), posted("/v1/suites", "admin"), (201, 200)),
    "create-policy": Race(a_suite_and_policy, posted("/v1/policies", "admin"), (201, 200)),
    "deactivate": Race(
        lambda world: world.a_principal()[0],
        lambda world, name: world.call("DELETE", f"/v1/principals/{name}", by="admin"),
        (204, 204),
    ),
    "revoke-token": Race(
        an_issued_token,
        lambda world, issued: world.call("DELETE", f"/v1/tokens/{issued['id']}", by="admin"),
        (204, 204),
    ),
    "push": Race(
        lambda world: (world.a_base(), world.a_prefix()),
        lambda world, _: world.push(),
        (201, 200),
        {"version.push": 1},
    ),
    "bind-channel": Race(
        a_version_and_policy,
        lambda world, policy: world.bind(policy),
        (200, 200),
        {"channel.bind": 1},
    ),
    "roll-back": Race(
        two_generations,
        lambda world, _: world.rollback(1),
        (200, 409),
        {"channel.rollback": 1},
    ),
    "revoke-version": Race(
        lambda world: world.a_version(),
        lambda world, version: world.revoke(version),
        (200, 410),
        {"version.revoke": 1},
    ),
    "void-evaluation": Race(
        an_evaluation,
        lambda world, evaluation: world.void(evaluation),
        (200, 409),
        {"evaluation.void": 1},
    ),
    "void-control-run": Race(
        a_control_run, lambda world, evaluation: world.void(evaluation), (200, 409)
    ),
    "approve": Race(
        a_promotion_of_one_approval,
        lambda world, promotion: world.review(promotion, by="approver-1"),
        (200, 409),
        {"promotion.execute": 1},
    ),
    "withdraw": Race(
        lambda world: world.a_promotion(),
        lambda world, promotion: world.withdraw(promotion),
        (200, 409),
        {"promotion.withdraw": 1},
    ),
}


@pytest.mark.parametrize("race", RACES.values(), ids=RACES.keys())
def test_the_second_caller_waits_for_the_first_and_sees_its_change(world, world_on, engine, race):
    prepared = race.prepare(world)
    before = world.verification("registry")["entries"]
    with engine.connect() as connection, ThreadPoolExecutor(1) as thread:
        with connection.begin():
            inside = world_on(sessions=sessions_on(connection))
            inside.namespace, inside.prefix = world.namespace, world.prefix
            inside.path, inside.base = world.path, world.base
            first = race.call(inside, prepared)
            assert first.status_code == race.statuses[0], first.text
            second = thread.submit(race.call, world, prepared)
            eventually(lambda: second.done() or keeps_another_waiting(connection))
        answer = second.result(timeout=20)

    assert answer.status_code == race.statuses[1], answer.text
    actions = world.actions()
    assert {action: actions.count(action) for action in race.entries} == race.entries
    if not race.entries:
        assert world.verification("registry")["entries"] == before + 1
    assert world.verification()["valid"]


def test_an_approval_waits_for_a_revocation_of_its_version(world, world_on, engine):
    promotion = a_promotion_of_one_approval(world)
    with engine.connect() as connection, ThreadPoolExecutor(1) as thread:
        with connection.begin():
            inside = world_on(sessions=sessions_on(connection))
            inside.path = world.path
            revoked = inside.revoke({"number": 1})
            assert revoked.status_code == 200, revoked.text
            approved = thread.submit(world.review, promotion, by="approver-1")
            eventually(lambda: approved.done() or keeps_another_waiting(connection))
        refused = approved.result(timeout=20)
    assert refused.status_code == 409, refused.text
    assert world.promotion(promotion)["state"] == "superseded"
    assert "promotion.execute" not in world.actions()
