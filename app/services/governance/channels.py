"""Binding channels to policies, and rolling channels back."""

from typing import Final

from sqlalchemy.orm import Session

from app.db.channels import allocation_of, generation_numbered, lock_channel
from app.db.models import Channel, PolicyRow, Prefix
from app.db.policies import policy_of, policy_versioned
from app.db.principals import approvers_by_namespace
from app.db.session import expect
from app.domain.audit.chain import Facts, subject_of
from app.domain.delivery.conditional_requests import Precondition, entity_tag
from app.domain.errors import (
    NotFoundError,
    NothingToChangeError,
    PolicyUnsatisfiableError,
    UnknownReferenceError,
)
from app.domain.governance.allocation import Share
from app.domain.governance.approvals import eligible
from app.domain.governance.lifecycle import GenerationKind
from app.domain.governance.policies import Contributor
from app.domain.identity.access import Role, role_on
from app.domain.naming import PrefixName
from app.services.governance.execution import Move, execute
from app.services.governance.gate import reevaluate_pending
from app.services.identity.visibility import lock_existing_prefix, missing_channel
from app.services.transactions import Transaction, Transactions

_NONE: Final = Precondition()


def bind(
    transactions: Transactions,
    *,
    prefix: PrefixName,
    name: str,
    policy: str,
    policy_version: int,
    precondition: Precondition = _NONE,
) -> Channel:
    """Bind a channel to a policy version; create the channel if it does not exist.

    Binding a channel to its present policy version changes nothing. Approvals given under the
    previous policy no longer count.

    Raises:
        NotFoundError: The prefix does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an admin of this prefix.
        UnknownReferenceError: The policy version does not exist.
        PolicyUnsatisfiableError: Too few principals could approve under the policy.
        PreconditionFailedError: The channel has changed since the caller read it.
    """
    needs, subject = role_on(Role.ADMIN, prefix), subject_of(prefix)
    with transactions.begin("channel.bind", needs, subject=subject) as transaction:
        session = transaction.session
        row = lock_existing_prefix(session, prefix)
        wanted = policy_versioned(session, policy, policy_version)
        if wanted is None:
            raise UnknownReferenceError(f"The policy {policy} has no version {policy_version}.")
        channel = lock_channel(session, prefix, name)
        precondition.require(
            f"The channel {name}", None if channel is None else channel_tag(channel)
        )
        if channel is not None and channel.policy_id == wanted.id:
            return channel
        _require_satisfiable(session, row, wanted)
        if channel is None:
            channel = Channel(row.id, name, wanted.id, transaction.now)
            session.add(channel)
        else:
            channel.policy = wanted
        _record_binding(transaction, channel, wanted)
        reevaluate_pending(session, row, now=transaction.now)
        return expect(lock_channel(session, prefix, name))


def rollback(
    transactions: Transactions,
    *,
    prefix: PrefixName,
    name: str,
    generation: int,
    reason: str,
    precondition: Precondition = _NONE,
) -> Channel:
    """Serve the allocation of an earlier generation again at once, as a new generation.

    The gate passed and reviewers approved that allocation before, so neither is required again.

    Raises:
        NotFoundError: The channel or generation does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an approver of this prefix.
        NothingToChangeError: The channel already serves this allocation.
        VersionRevokedError: A version of the generation is now revoked.
        PreconditionFailedError: The channel has changed since the caller read it.
    """
    needs, subject = role_on(Role.APPROVER, prefix), subject_of(prefix)
    with transactions.begin("channel.rollback", needs, subject=subject) as transaction:
        session = transaction.session
        lock_existing_prefix(session, prefix)
        channel = lock_channel(session, prefix, name)
        if channel is None:
            raise missing_channel(prefix, name)
        precondition.require(f"The channel {name}", channel_tag(channel))
        earlier = generation_numbered(session, channel, generation)
        if earlier is None:
            message = f"{name} of {prefix} has no generation {generation}."
            raise NotFoundError(message)
        shares = [(share.version, share.weight) for share in earlier.shares]
        wanted = {Share(version.number, weight) for version, weight in shares}
        if not wanted or wanted == set(allocation_of(session, channel)):
            message = f"{name} of {prefix} already serves what generation {generation} served."
            raise NothingToChangeError(message)
        move = Move(GenerationKind.ROLLBACK, shares, reason)
        execute(transaction, channel, move)
        return channel


def _record_binding(transaction: Transaction, channel: Channel, policy: PolicyRow) -> None:
    facts: Facts = {
        "channel": channel.name,
        "channel_id": str(channel.id),
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_digest": policy.digest,
    }
    transaction.record("channel.bind", facts)


def channel_tag(channel: Channel) -> str:
    """Return the entity tag of a channel, which changes with its policy and its generation."""
    return entity_tag(str(channel.id), channel.policy.digest, channel.generation)


def _require_satisfiable(session: Session, prefix: Prefix, row: PolicyRow) -> None:
    """Check that enough principals could approve under a policy.

    Of the contributors, only the owner is known now. The author, requester and evaluators may
    exclude more reviewers later.

    Raises:
        PolicyUnsatisfiableError: Too few principals could approve.
    """
    approvals = policy_of(row).approvals
    approvers = approvers_by_namespace(session, [prefix.namespace])[prefix.namespace]
    owner = {Contributor.OWNER: frozenset({prefix.owner_id})}
    reviewers = eligible(approvals, approvers, owner)
    require_enough(len(reviewers), approvals.required, prefix.namespace)


def require_enough(reviewers: int, required: int, namespace: str) -> None:
    """Check that there are enough eligible reviewers for the required approvals.

    Raises:
        PolicyUnsatisfiableError: There are fewer reviewers than required approvals.
    """
    if reviewers < required:
        raise PolicyUnsatisfiableError(
            f"The policy requires {required} approvals, but only {reviewers} principals are "
            f"eligible; grant the role approver on {namespace} to more principals, or require "
            "fewer approvals.",
            required=required,
            eligible=reviewers,
        )
