"""Cache leases: when a cache may be served from, and which actions wait for invalidation."""

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
