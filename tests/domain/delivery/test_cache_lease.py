"""Cache leases: when a cache may be served from, and which actions wait for invalidation."""

import ast
import re
from pathlib import Path

import pytest

from app.domain.delivery.cache_lease import (
    LEASE_S,
    LONGEST_WAIT_S,
    CacheLease,
    requires_invalidation,
)


def test_the_cache_is_not_served_from_before_the_first_proof():
    assert not CacheLease().holds(0.0)


def test_a_lease_starts_when_its_proof_began():
    lease = CacheLease()
    lease.renew(10.0)
    assert lease.holds(10.0 + LEASE_S - 0.001)
    assert not lease.holds(10.0 + LEASE_S)


def test_an_ended_lease_does_not_hold():
    lease = CacheLease()
    lease.renew(10.0)
    lease.end()
    assert not lease.holds(10.0)


def test_the_longest_wait_outlasts_every_lease():
    assert LONGEST_WAIT_S > LEASE_S


@pytest.mark.parametrize(
    "action",
    [
        "channel.rollback",
        "grants.set",
        "principal.deactivate",
        "promotion.execute",
        "token.revoke",
        "version.revoke",
        "unknown.action",
    ],
)
def test_an_action_that_may_change_a_cached_response_waits(action):
    assert requires_invalidation(action)


@pytest.mark.parametrize(
    "action", ["version.push", "evaluation.record", "token.issue", "promotion.approve"]
)
def test_an_action_that_changes_no_cached_response_does_not_wait(action):
    assert not requires_invalidation(action)


APP = Path(__file__).parents[3] / "app"
ACTION = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*")
# These only add something, or move a promotion without executing it.
DO_NOT_WAIT = {
    "base-model.register",
    "evaluation.record",
    "policy.create",
    "prefix.create",
    "principal.create",
    "promotion.approve",
    "promotion.expire",
    "promotion.hold",
    "promotion.refuse",
    "promotion.reject",
    "promotion.request",
    "promotion.withdraw",
    "signer.change",
    "suite.register",
    "token.issue",
    "version.push",
}


def words_like_actions():
    """Return the texts in the code that have the form of an action: all actions, and more."""
    return {
        node.value
        for path in APP.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and ACTION.fullmatch(node.value)
    }


def test_exactly_these_actions_do_not_wait():
    found = words_like_actions()
    assert {action for action in found if not requires_invalidation(action)} == DO_NOT_WAIT
    assert {"token.revoke", "version.revoke", "promotion.execute"} <= found
