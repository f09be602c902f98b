"""Binding a channel to a policy, and rolling it back."""

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from app.db import audit
from app.db.channels import allocation_of, generation_numbered, lock_channel
from app.db.models import Channel, PolicyRow, Prefix
from app.db.policies import policy_of, policy_versioned
from app.db.principals import approvers_by_namespace
from app.db.session import Sessions, expect
from app.domain.audit.chain import Event, Facts, audit_event, subject_of
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
from app.domain.identity.access import Caller, Role
from app.domain.naming import PrefixName
from app.services.governance.execution import Move, execute
from app.services.governance.gate import reevaluate_pending
from app.services.identity.visibility import lock_prefix_as, missing_channel

_NONE: Final = Precondition()


def bind(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    name: str,
    policy: str,
    policy_version: int,
    precondition: Precondition = _NONE,
    caller: Caller,
    now: datetime,
) -> Channel:
    """Create a channel under a policy, or put an existing one under another.

    Binding what is bound already changes nothing. Approvals that were given under the former
    policy no longer count.

    Raises:
        NotFoundError: There is no such prefix for this caller.
        ForbiddenError: The caller is no admin here.
        UnknownReferenceError: There is no such policy version.
        PolicyUnsatisfiableError: Too few people could ever approve under it.
        PreconditionFailedError: The channel is not what the caller expects.
    """
    with sessions.begin() as session:
        row = lock_prefix_as(Role.ADMIN, session, caller, prefix)
        wanted = policy_versioned(session, policy, policy_version)
        if wanted is None:
            raise UnknownReferenceError(f"There is no policy {policy} version {policy_version}.")
        channel = lock_channel(session, prefix, name)
        precondition.require(
            f"The channel {name}", None if channel is None else channel_tag(channel)
        )
        if channel is not None and channel.policy_id == wanted.id:
            return channel
        _require_satisfiable(session, row, wanted)
        if channel is None:
            channel = Channel(row.id, name, wanted.id, now)
            session.add(channel)
        else:
            channel.policy = wanted
        event = _bound(prefix, channel, wanted, caller, now)
        audit.append(session, event)
        reevaluate_pending(session, row, now=now)
        return expect(lock_channel(session, prefix, name))


def rollback(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    name: str,
    generation: int,
    reason: str,
    precondition: Precondition = _NONE,
    caller: Caller,
    now: datetime,
) -> Channel:
    """Serve again, at once, what an earlier generation served, as a new generation.

    It was gated and approved when it was made, so it is not again.

    Raises:
        NotFoundError: There is no such channel or generation for this caller.
        ForbiddenError: The caller is no approver here.
        NothingToChangeError: The channel serves exactly that.
        VersionRevokedError: A version in it was revoked since.
        PreconditionFailedError: The channel is not what the caller expects.
    """
    with sessions.begin() as session:
        lock_prefix_as(Role.APPROVER, session, caller, prefix)
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
            message = f"{name} of {prefix} serves what generation {generation} served already."
            raise NothingToChangeError(message)
        move = Move(GenerationKind.ROLLBACK, shares, reason)
        execute(session, channel, move, caller=caller, now=now)
        return channel


def _bound(
    prefix: PrefixName, channel: Channel, policy: PolicyRow, caller: Caller, now: datetime
) -> Event:
    facts: Facts = {
        "channel": channel.name,
        "channel_id": str(channel.id),
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_digest": policy.digest,
    }
    return audit_event(subject_of(prefix), "channel.bind", facts, caller=caller, now=now)


def channel_tag(channel: Channel) -> str:
    """Return the entity tag of a channel: of its policy and of what it serves."""
    return entity_tag(str(channel.id), channel.policy.digest, channel.generation)


def _require_satisfiable(session: Session, prefix: Prefix, row: PolicyRow) -> None:
    """Raise if even with the kindest requester too few people could approve.

    Author, requester and evaluators are not known yet; the owner is.
    """
    approvals = policy_of(row).approvals
    approvers = approvers_by_namespace(session, [prefix.namespace])[prefix.namespace]
    owner = {Contributor.OWNER: frozenset({prefix.owner_id})}
    able = eligible(approvals, approvers, owner)
    require_enough(len(able), approvals.required, prefix.namespace)


def require_enough(able: int, required: int, namespace: str) -> None:
    """Raise PolicyUnsatisfiableError if `able` reviewers cannot give `required` approvals."""
    if able < required:
        raise PolicyUnsatisfiableError(
            f"The policy demands {required} approvals, and {able} principals could give one; "
            f"grant the role approver on {namespace} to more people, or demand fewer.",
            required=required,
            eligible=able,
        )
