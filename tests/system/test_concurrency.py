"""Concurrent requests from real threads against the real database."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic, sleep

import pytest

from app.db.prefixes import lock_prefix
from app.db.principals import lock_principal
from app.domain.errors import UnauthenticatedError
from app.domain.naming import PrefixName
from app.services.identity import web_sessions
from tests.support.builders import World, a_base_model, a_policy, a_suite, results
from tests.support.racing import at_once, by_as_many_clients

THREADS = 8


@pytest.fixture
def prefix(world):
    """An empty prefix and a base model."""
    world.a_base()
    world.a_prefix()
    return world


def statuses(responses):
    return Counter(response.status_code for response in responses)


def reviewing(promotion, *, by, verdict="approve"):
    return lambda world: world.review(promotion, by=by, verdict=verdict)


def require_linear_history(world):
    """Assert one audit entry for each generation, no gaps, and an intact chain."""
    numbers = [generation["generation"] for generation in world.history()]
    assert numbers == list(range(len(numbers), 0, -1))
    assert world.channel()["generation"] == len(numbers)
    moved = [
        entry["facts"]["generation"] for entry in world.audit() if "generation" in entry["facts"]
    ]
    assert moved == numbers[::-1]
    assert world.verification()["valid"]


# Checkpoints


def test_concurrent_checkpoints_are_one(world):
    world.a_prefix()
    calls = [lambda world: world.call("POST", "/v1/audit/checkpoints", by="admin")] * 4

    responses = by_as_many_clients(world, calls)

    assert statuses(responses) == {201: 1, 200: 3}
    assert len({response.json()["note"] for response in responses}) == 1


def test_writers_do_not_wait_for_a_checkpoint(prefix, administered):
    """The checkpoint is taken but not committed while its chains grow."""
    administered[0].checkpoint()
    assert prefix.push().status_code == 201
    prefix.a_prefix(name="another")


# Pushing


@pytest.mark.parametrize("pushes", [2, 16])
def test_concurrent_pushes_are_numbered_without_a_gap(prefix, pushes):
    calls = [lambda world, seed=seed: world.push(seed=seed) for seed in range(pushes)]

    responses = by_as_many_clients(prefix, calls)

    assert statuses(responses) == {201: pushes}
    numbers = sorted(response.json()["number"] for response in responses)
    assert numbers == list(range(1, pushes + 1))
    assert prefix.actions() == ["prefix.create", *["version.push"] * pushes]
    assert prefix.verification()["valid"]


def test_refused_concurrent_pushes_consume_no_number(prefix):
    calls = [lambda world, seed=seed: world.push(seed=seed) for seed in range(4)]
    broken = [lambda world: world.push(weights=b"no tensors")] * 4

    responses = by_as_many_clients(prefix, [*calls, *broken])

    assert statuses(responses) == {201: 4, 422: 4}
    numbers = [response.json()["number"] for response in responses[:4]]
    assert sorted(numbers) == [1, 2, 3, 4]


def test_concurrent_pushes_of_the_same_content_are_one_version(prefix):
    responses = by_as_many_clients(prefix, [World.push] * THREADS)

    assert statuses(responses) == {201: 1, 200: THREADS - 1}
    assert {response.json()["number"] for response in responses} == {1}
    assert prefix.actions() == ["prefix.create", "version.push"]


def test_pushes_to_different_prefixes_do_not_wait_for_each_other(prefix, sessions):
    other = prefix.on_its_own_client()
    other.a_prefix(name="other")
    other.path = f"/v1/prefixes/{prefix.namespace}/other"
    with sessions.begin() as session:
        lock_prefix(session, PrefixName(prefix.namespace, "voice"))
        assert other.push().status_code == 201


# Moving a channel


@pytest.mark.parametrize("required", [1, 2])
def test_two_concurrent_last_approvals_execute_once(world, required):
    version = world.a_version()
    world.a_channel(approvals={"required": required})
    world.evaluate(version)
    promotion = world.request(version).json()
    reviewers = ["approver-1", "approver-2"]
    if required == 2:
        world.review(promotion, by="approver-1")
        reviewers = ["approver-2", world.a_principal(None, ("approver", world.namespace))[1]]

    responses = by_as_many_clients(world, [reviewing(promotion, by=each) for each in reviewers])

    assert statuses(responses) == {200: 1, 409: 1}
    assert len(world.history()) == 1
    require_linear_history(world)


def test_only_one_of_a_concurrent_approval_and_rejection_succeeds(world):
    version = world.a_version()
    world.a_channel(approvals={"required": 1})
    world.evaluate(version)
    promotion = world.request(version).json()

    responses = by_as_many_clients(
        world,
        [
            reviewing(promotion, by="approver-1"),
            reviewing(promotion, by="approver-2", verdict="reject"),
        ],
    )

    assert statuses(responses) == {200: 1, 409: 1}
    executed = world.promotion(promotion)["state"] == "executed"
    assert len(world.history()) == int(executed)
    require_linear_history(world)


@pytest.mark.parametrize("attempt", range(3))
def test_a_version_revoked_during_an_approval_is_never_live(world, attempt):
    version = world.a_version()
    world.a_channel(approvals={"required": 1})
    world.evaluate(version)
    promotion = world.request(version).json()

    approved, revoked = by_as_many_clients(
        world,
        [reviewing(promotion, by="approver-1"), lambda world: world.revoke(version)],
    )

    assert revoked.status_code == 200
    assert approved.status_code in {200, 409}
    assert world.channel()["allocation"] == []
    require_linear_history(world)


@pytest.mark.parametrize("attempt", range(3))
def test_only_one_of_two_concurrent_promotions_of_a_channel_executes(world, attempt):
    versions = [world.a_version(seed) for seed in (1, 2)]
    world.a_channel(approvals={"required": 1})
    for version in versions:
        world.evaluate(version)
    promotions = [world.request(version).json() for version in versions]

    responses = by_as_many_clients(
        world, [reviewing(promotion, by="approver-1") for promotion in promotions]
    )

    assert statuses(responses) == {200: 1, 409: 1}
    states = Counter(world.promotion(promotion)["state"] for promotion in promotions)
    assert states == {"executed": 1, "superseded": 1}
    assert len(world.history()) == 1
    require_linear_history(world)


def test_an_approval_concurrent_with_worse_evidence_never_executes_on_it(world):
    version = world.a_version()
    world.a_channel(approvals={"required": 1})
    world.evaluate(version)
    promotion = world.request(version).json()

    approved, recorded = by_as_many_clients(
        world,
        [
            reviewing(promotion, by="approver-1"),
            lambda world: world.evaluate(version, results=results(value=0.1)),
        ],
    )

    assert recorded.status_code == 201
    actions = world.actions()
    last = actions[actions.index("promotion.request") + 1 :]
    first_approved = ["promotion.approve", "promotion.execute", "evaluation.record"]
    assert last == (first_approved if approved.status_code == 200 else ["evaluation.record"])
    require_linear_history(world)


def test_concurrent_rollbacks_and_promotions_leave_a_linear_history(world):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    promotion = world.a_promotion(seed=3)
    world.review(promotion, by="approver-1")

    responses = by_as_many_clients(
        world,
        [
            reviewing(promotion, by="approver-2"),
            partial(World.rollback, generation=1),
            partial(World.rollback, generation=1, by="approver-2"),
        ],
    )

    assert set(statuses(responses)) <= {200, 409}
    require_linear_history(world)


def test_no_response_after_a_revocation_serves_the_version(world):
    version = world.a_live_version()
    acknowledged = []

    def resolve_for_a_while(world):
        found = []
        for _ in range(40):
            late = bool(acknowledged)
            found.append((late, world.resolve().status_code))
        return found

    def revoke(world):
        assert world.revoke(version).status_code == 200
        acknowledged.append(True)

    *found, _ = by_as_many_clients(world, [*[resolve_for_a_while] * 3, revoke])

    responses = Counter(response for each in found for response in each)
    assert set(responses) <= {(False, 200), (False, 410), (True, 410)}
    assert responses[True, 410] > 0


# Identical registrations


@pytest.mark.parametrize(
    ("path", "document", "by"),
    [
        pytest.param("/v1/base-models", a_base_model(), "publisher", id="base-model"),
        pytest.param("/v1/suites", a_suite(), "admin", id="suite"),
    ],
)
def test_concurrent_identical_registrations_create_one_object(world, path, document, by):
    calls = [lambda world: world.call("POST", path, by=by, json=document)] * THREADS
    assert statuses(by_as_many_clients(world, calls)) == {201: 1, 200: THREADS - 1}
    assert world.verification("registry")["valid"]


def test_concurrent_creations_of_the_same_policy_make_one_version(world):
    world.a_suite()
    document = a_policy(world.suite)
    calls = [lambda world: world.call("POST", "/v1/policies", by="admin", json=document)]

    responses = by_as_many_clients(world, calls * THREADS)

    assert statuses(responses) == {201: 1, 200: THREADS - 1}
    assert {response.json()["version"] for response in responses} == {1}


def test_concurrent_policy_texts_are_numbered_without_a_gap(world):
    world.a_suite()
    document = a_policy(world.suite)

    def create(world, required):
        changed = document | {"approvals": {"required": required}}
        return world.call("POST", "/v1/policies", by="admin", json=changed)

    calls = [partial(create, required=required) for required in range(THREADS)]
    responses = by_as_many_clients(world, calls)

    assert statuses(responses) == {201: THREADS}
    versions = sorted(response.json()["version"] for response in responses)
    assert versions == list(range(1, THREADS + 1))


def test_concurrent_creations_of_the_same_prefix_make_one(world):
    body = {"namespace": world.namespace, "name": "voice", "owner": "admin"}
    calls = [lambda world: world.call("POST", "/v1/prefixes", by="publisher", json=body)]
    responses = by_as_many_clients(world, calls * THREADS)
    assert statuses(responses) == {201: 1, 409: THREADS - 1}
    assert world.actions() == ["prefix.create"]


def test_concurrent_creations_of_the_same_principal_make_one(world):
    body = {"name": f"twin-{world.namespace}", "kind": "human"}
    calls = [lambda world: world.call("POST", "/v1/principals", by="admin", json=body)]
    responses = by_as_many_clients(world, calls * THREADS)
    assert statuses(responses) == {201: 1, 409: THREADS - 1}


def test_concurrent_identical_bindings_are_recorded_once(world):
    world.a_version()
    policy = world.a_policy()
    responses = by_as_many_clients(world, [lambda world: world.bind(policy)] * THREADS)
    assert statuses(responses) == {200: THREADS}
    assert world.actions().count("channel.bind") == 1


def test_concurrent_revocations_of_a_token_are_recorded_once(world):
    name, _ = world.a_principal()
    issued = world.made("POST", "/v1/tokens", by="admin", json={"principal": name})
    before = world.verification("registry")["entries"]
    path = f"/v1/tokens/{issued['id']}"
    calls = [lambda world: world.call("DELETE", path, by="admin")] * THREADS
    assert statuses(by_as_many_clients(world, calls)) == {204: THREADS}
    assert world.verification("registry")["entries"] == before + 1


# Order of locks


@pytest.mark.parametrize("attempt", range(6))
def test_concurrent_changes_of_a_principal_do_not_deadlock(world, sessions, attempt):
    """Each change locks the registry's chain first, and then the principal's rows."""
    name, token = world.a_principal(None, ("reader", world.namespace))
    path = f"/v1/principals/{name}"
    grants = {"principal": name, "grants": [{"role": "reader", "namespace": "acme"}]}
    issued = world.made("POST", "/v1/tokens", by="admin", json={"principal": name})
    opened = web_sessions.sign_in(sessions, token=token)

    def admin_call(method, path, **body):
        another = world.on_its_own_client()
        return lambda: another.call(method, path, by="admin", **body).status_code

    def signing_in():
        with suppress(UnauthenticatedError):
            web_sessions.sign_in(sessions, token=issued["token"])

    outcomes = at_once(
        admin_call("PUT", "/v1/grants", json=grants),
        admin_call("PUT", f"{path}/identities", json={"identities": []}),
        admin_call("POST", "/v1/tokens", json={"principal": name}),
        admin_call("DELETE", f"/v1/tokens/{issued['id']}"),
        admin_call("DELETE", path),
        signing_in,
        lambda: web_sessions.sign_out(sessions, visit=opened),
    )

    assert set(outcomes) <= {200, 201, 204, 409, None}
    assert world.verification("registry")["valid"]


@contextmanager
def in_thread(call):
    """Run `call` in another thread while the block runs; yield its future."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(call)


def test_creating_a_prefix_that_exists_does_not_wait_for_a_push_to_it(prefix, sessions):
    """A push locks the prefix, then the chain; the reverse order would deadlock."""
    body = {"namespace": prefix.namespace, "name": "voice", "owner": "admin"}
    call = partial(prefix.call, "POST", "/v1/prefixes", by="publisher", json=body)
    with sessions.begin() as session:
        lock_prefix(session, PrefixName(prefix.namespace, "voice"))
        with in_thread(call) as response:
            assert response.result(timeout=5).status_code == 409


def test_a_principal_reads_during_a_change_of_its_grants(world, sessions):
    name, token = world.a_principal(None, ("publisher", world.namespace))
    with sessions.begin() as session:
        lock_principal(session, name)
        with in_thread(partial(world.call, "GET", "/v1/me", by=token)) as response:
            assert response.result(timeout=5).status_code == 200


# Everything at once


def promote(world, version):
    for _ in range(4):
        response = world.request(version)
        if response.status_code == 201:
            world.review(response.json(), by="approver-2")


def roll_back(world, generation):
    for _ in range(4):
        assert world.rollback(generation).status_code in {200, 409, 410}


def resolve(world, responses):
    for _ in range(25):
        sent_at = monotonic()
        response = world.resolve()
        if response.status_code == 200:
            responses.append((sent_at, response.json()["version"]))


def revoke(world, version, revoked):
    sleep(0.2)
    assert world.revoke(version).status_code == 200
    revoked[version["number"]] = monotonic()


def test_sixteen_concurrent_clients_leave_a_linear_history_and_no_revoked_version_live(world):
    versions = [world.an_evaluated_version(seed=seed) for seed in range(6)]
    world.bind(world.a_policy(approvals={"required": 1}))
    for version in versions[:3]:
        world.review(world.request(version).json(), by="approver-1")
    responses, revoked = [], {}

    calls = [
        *(partial(promote, version=version) for version in versions),
        *(partial(roll_back, generation=generation) for generation in (1, 2, 3)),
        *(partial(revoke, version=version, revoked=revoked) for version in versions[1:4]),
        *[partial(resolve, responses=responses)] * 4,
    ]
    assert len(calls) == 16
    by_as_many_clients(world, calls)

    require_linear_history(world)
    late = [number for sent_at, number in responses if sent_at > revoked.get(number, sent_at)]
    assert late == []
    live = {share["version"] for share in world.channel()["allocation"]}
    assert live.isdisjoint(revoked)
    assert world.actions().count("version.revoke") == 3
