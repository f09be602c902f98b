"""Asking the gate without acting on its answer."""

from datetime import datetime

from app.db.channels import allocation_of, channel_named
from app.db.session import Sessions
from app.domain.access import Caller
from app.domain.allocation import ALL_TRAFFIC, Share
from app.domain.errors import GateNotConfiguredError
from app.domain.gate import Decision
from app.domain.identity import PrefixName
from app.services.execution import require_not_revoked
from app.services.judgement import judge
from app.services.sight import seen_version


def dry_run(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    number: int,
    channel_name: str,
    caller: Caller,
    now: datetime,
) -> Decision:
    """Return the decision on giving a version all of a channel's traffic.

    Raises:
        NotFoundError: There is no such version for this caller.
        GateNotConfiguredError: The channel has no policy, so it is closed.
        VersionRevokedError: The version was revoked, so no gate can open for it.
    """
    caller.require_sight(prefix)
    with sessions() as session:
        version = seen_version(session, caller, prefix, number)
        require_not_revoked(version)
        channel = channel_named(session, prefix, channel_name)
        if channel is None:
            raise not_configured(prefix, channel_name)
        wanted = (Share(number, ALL_TRAFFIC),)
        current = allocation_of(session, channel)
        versions = {number: version}
        return judge(session, channel, wanted, versions, current=current, now=now).decision


def not_configured(prefix: PrefixName, channel_name: str) -> GateNotConfiguredError:
    return GateNotConfiguredError(
        f"{prefix} has no channel {channel_name} bound to a policy, so nothing can be promoted "
        f"to it; an admin binds one with PUT /v1/prefixes/{prefix}/channels/{channel_name}."
    )
