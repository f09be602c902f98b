"""The second line of defence: each use case refuses a caller without the role by itself.

HTTP refuses such a caller before its body is read; these tests call the services directly.
"""

import inspect
import pkgutil
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

import app.services
from app.domain.artifacts.quotas import OwnLimits
from app.domain.errors import ForbiddenError, NotFoundError
from app.domain.governance.allocation import ALL_TRAFFIC, Share
from app.domain.governance.approvals import Verdict
from app.domain.identity.access import EVERYWHERE, Caller, Grant, PrincipalKind, Role
from app.domain.identity.credentials import ServerCredential
from app.domain.naming import PrefixName
from app.services.artifacts import (
    base_models,
    prefixes,
    pulls,
    quotas,
    revocations,
    uploads,
    versions,
)
from app.services.artifacts.blob_damage import record_replacement
from app.services.artifacts.spooled_files import store_pinned
from app.services.audit import checkpoints, replay
from app.services.delivery import resolve
from app.services.evidence import evaluations, suites
from app.services.governance import break_glass, channels, gate, policies, promotions, reviews
from app.services.identity import principals, tokens
from app.services.transactions import Transactions
from tests.support.builders import World
from tests.support.session.in_process import InProcessClient

NOW = datetime.now(UTC)  # noqa: TID251 - the scene is made at the real time
REASON = "a reason of more than twenty characters"
UNREAD = object()
"""An argument that must not matter, as the refusal comes first."""


@pytest.fixture(scope="module")
def scene(app, tokens):
    """A prefix with a version, its evaluation and a pending promotion, made once."""
    with InProcessClient(app) as client:
        world = World(client, tokens)
        version = world.an_evaluated_version()
        path = f"{world.path}/versions/{version['number']}/evaluations"
        (evaluation,) = world.made("GET", path, by="evaluator")["items"]
        promotion = world.request(version).json()
        yield SimpleNamespace(
            prefix=PrefixName(world.namespace, "voice"),
            number=version["number"],
            wanted=(Share(version["number"], ALL_TRAFFIC),),
            evaluation=UUID(evaluation["id"]),
            promotion=UUID(promotion["id"]),
        )


# The role that each use case demands, and what it is called with.
BY_ROLE = [
    (base_models.register, Role.PUBLISHER, lambda s: {"description": UNREAD}),
    (
        prefixes.create,
        Role.PUBLISHER,
        lambda s: {
            "name": PrefixName(s.prefix.namespace, "other"),
            "owner": "admin",
            "description": "",
            "intended_uses": [],
        },
    ),
    (
        pulls.list_pulls,
        Role.APPROVER,
        lambda s: {"log": UNREAD, "prefix": s.prefix, "number": s.number, "request": UNREAD},
    ),
    (
        revocations.revoke,
        Role.APPROVER,
        lambda s: {"prefix": s.prefix, "number": s.number, "reason": REASON},
    ),
    (
        uploads.announced,
        Role.PUBLISHER,
        lambda s: {"prefix": s.prefix, "sha256": "sha256:0"},
    ),
    (
        uploads.begin,
        Role.PUBLISHER,
        lambda s: {
            "staging": UNREAD,
            "prefix": s.prefix,
            "sha256": "sha256:0",
            "size_bytes": 1,
            "limit_bytes": 1,
            "quota": UNREAD,
        },
    ),
    (
        uploads.begin_all,
        Role.PUBLISHER,
        lambda s: {"prefix": s.prefix, "files": [], "limit_bytes": 1, "quota": UNREAD},
    ),
    (
        versions.push,
        Role.PUBLISHER,
        lambda s: {"blobs": UNREAD, "prefix": s.prefix, "pushed": UNREAD, "quota": UNREAD},
    ),
    (checkpoints.take, Role.ADMIN, lambda s: {"signer": UNREAD}),
    (
        evaluations.record,
        Role.EVALUATOR,
        lambda s: {
            "blobs": UNREAD,
            "prefix": s.prefix,
            "number": s.number,
            "submission": UNREAD,
            "quota": UNREAD,
        },
    ),
    (
        evaluations.record_control_run,
        Role.EVALUATOR,
        lambda s: {"blobs": UNREAD, "base_model": UNREAD, "submission": UNREAD},
    ),
    (
        evaluations.void,
        Role.APPROVER,
        lambda s: {"evaluation_id": s.evaluation, "reason": REASON},
    ),
    (
        quotas.set_limits,
        Role.ADMIN,
        lambda s: {"namespace": s.prefix.namespace, "limits": OwnLimits(versions=1)},
    ),
    (quotas.miscounts, Role.ADMIN, lambda s: {}),
    (suites.register, Role.ADMIN, lambda s: {"blobs": UNREAD, "suite": UNREAD}),
    (
        break_glass.break_glass,
        Role.ADMIN,
        lambda s: {"promotion_id": s.promotion, "reason": REASON},
    ),
    (
        break_glass.request_with_break_glass,
        Role.ADMIN,
        lambda s: {
            "prefix": s.prefix,
            "channel_name": "production",
            "wanted": s.wanted,
            "reason": REASON,
        },
    ),
    (
        channels.bind,
        Role.ADMIN,
        lambda s: {
            "prefix": s.prefix,
            "name": "production",
            "policy": "none",
            "policy_version": 1,
        },
    ),
    (
        channels.rollback,
        Role.APPROVER,
        lambda s: {
            "prefix": s.prefix,
            "name": "production",
            "generation": 1,
            "reason": REASON,
        },
    ),
    (policies.create, Role.ADMIN, lambda s: {"policy": UNREAD}),
    (
        promotions.request,
        Role.PUBLISHER,
        lambda s: {
            "prefix": s.prefix,
            "channel_name": "production",
            "wanted": s.wanted,
            "reason": REASON,
        },
    ),
    (
        reviews.review,
        Role.APPROVER,
        lambda s: {
            "promotion_id": s.promotion,
            "verdict": Verdict.APPROVE,
            "comment": REASON,
        },
    ),
    (
        principals.create_principal,
        Role.ADMIN,
        lambda s: {
            "name": f"person-{uuid4().hex[:8]}",
            "kind": PrincipalKind.HUMAN,
            "grants": [],
        },
    ),
    (principals.deactivate, Role.ADMIN, lambda s: {"name": "reader"}),
    (
        principals.set_grants,
        Role.ADMIN,
        lambda s: {"name": "reader", "grants": []},
    ),
    (
        principals.set_identities,
        Role.ADMIN,
        lambda s: {"issuers": UNREAD, "name": "reader", "identities": []},
    ),
    (
        tokens.issue_token,
        Role.ADMIN,
        lambda s: {
            "principal": "reader",
            "lifetime": timedelta(days=1),
            "channels": None,
        },
    ),
    (tokens.revoke_token, Role.ADMIN, lambda s: {"token_id": uuid4()}),
]

# Use cases open to several roles, or to one person; a caller without any grant is refused.
BY_VISIBILITY = [
    (
        gate.dry_run,
        lambda s: {
            "prefix": s.prefix,
            "number": s.number,
            "channel_name": "production",
            "now": NOW,
        },
    ),
    (policies.plan, lambda s: {"policy": UNREAD, "assumed": UNREAD}),
    (promotions.withdraw, lambda s: {"promotion_id": s.promotion}),
    (replay.replay, lambda s: {"promotion_id": s.promotion}),
    (
        resolve.resolve,
        lambda s: {
            "prefix": s.prefix,
            "channel_name": "production",
            "unit": None,
            "base_model": None,
        },
    ),
]


# Steps that several use cases share, which check the caller themselves.
STEPS = {promotions.begin_on_promotion, store_pinned, record_replacement, quotas.require_room}


def a_caller(*roles):
    """Return a person who holds these roles everywhere, and has done nothing so far."""
    grants = frozenset(Grant(role, EVERYWHERE) for role in roles)
    return Caller(uuid4(), "person", PrincipalKind.HUMAN, grants, ServerCredential())


def call(use_case, sessions, caller, arguments):
    """Call a use case that changes something with transactions, one that reads with a caller."""
    if "transactions" in inspect.signature(use_case).parameters:
        return use_case(Transactions(sessions, caller), **arguments)
    return use_case(sessions, caller=caller, **arguments)


def named(entry):
    function = entry[0]
    return f"{function.__module__.removeprefix('app.services.')}.{function.__name__}"


@pytest.mark.parametrize("entry", BY_ROLE, ids=named)
def test_a_use_case_refuses_a_caller_with_every_role_but_its_own(scene, sessions, entry):
    use_case, role, arguments = entry
    caller = a_caller(*(each for each in Role if each is not role))
    with pytest.raises(ForbiddenError, match=f"person needs the role {role} "):
        call(use_case, sessions, caller, arguments(scene))


@pytest.mark.parametrize("entry", BY_VISIBILITY, ids=named)
def test_a_use_case_refuses_a_caller_without_any_grant(scene, sessions, entry):
    use_case, arguments = entry
    with pytest.raises((ForbiddenError, NotFoundError)) as refused:
        call(use_case, sessions, a_caller(), arguments(scene))
    assert "your grants do not cover it" in str(refused.value) or "needs" in str(refused.value)


def test_only_the_requester_takes_a_promotion_back(scene, sessions):
    transactions = Transactions(sessions, a_caller(*Role))
    with pytest.raises(ForbiddenError, match="publisher requested this promotion"):
        promotions.withdraw(transactions, promotion_id=scene.promotion)


def test_every_use_case_that_takes_a_caller_is_in_a_table():
    """A use case opens its own transaction; functions that take a session are steps of one."""
    found = {
        function
        for module in pkgutil.walk_packages(app.services.__path__, "app.services.")
        for name, function in inspect.getmembers(import_module(module.name), inspect.isfunction)
        if function.__module__ == module.name
        and not name.startswith("_")
        and takes_a_caller(inspect.signature(function).parameters.keys())
    }
    assert found - STEPS == {entry[0] for entry in (*BY_ROLE, *BY_VISIBILITY)}


def takes_a_caller(parameters):
    return "transactions" in parameters or {"sessions", "caller"} <= parameters
