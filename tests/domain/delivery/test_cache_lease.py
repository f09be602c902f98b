"""When memory may be answered from, and which changes wait for it."""

import pytest

from app.domain.delivery.cache_lease import LEASE_S, LONGEST_WAIT_S, Lease, requires_invalidation


def test_nothing_may_be_answered_before_the_first_proof():
    assert not Lease().holds(0.0)


def test_a_lease_counts_from_when_its_proof_began():
    lease = Lease()
    lease.renew(10.0)
    assert lease.holds(10.0 + LEASE_S - 0.001)
    assert not lease.holds(10.0 + LEASE_S)


def test_a_lease_that_ended_holds_no_longer():
    lease = Lease()
    lease.renew(10.0)
    lease.end()
    assert not lease.holds(10.0)


def test_whoever_waited_has_outlived_every_lease():
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
        "something.unheard-of",
    ],
)
def test_what_may_change_an_answer_waits(action):
    assert requires_invalidation(action)


@pytest.mark.parametrize(
    "action", ["version.push", "evaluation.record", "token.issue", "promotion.approve"]
)
def test_what_changes_no_remembered_answer_does_not_wait(action):
    assert not requires_invalidation(action)
