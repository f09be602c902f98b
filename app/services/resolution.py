"""Resolving a channel to the version that serves a unit."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.db.channels import allocation_of, generation_numbered
from app.db.models import Channel, Version
from app.db.session import Sessions
from app.db.versions import served_versions
from app.domain.access import Caller
from app.domain.allocation import Share, heaviest, share_of
from app.domain.errors import (
    BaseModelMismatchError,
    ChannelEmptyError,
    RegistryError,
    VersionRevokedError,
)
from app.domain.identity import PrefixName
from app.services.sight import seen_channel


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a channel serves to one unit now; `weight` is in basis points."""

    prefix: PrefixName
    channel: Channel
    version: Version
    weight: int


def resolve(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    channel_name: str,
    unit: str | None,
    base_model: str | None,
    caller: Caller,
) -> Resolution:
    """Return the version that `channel_name` serves to `unit` (two queries).

    Raises:
        NotFoundError: There is no such channel for this caller.
        ChannelEmptyError: Nothing was ever promoted to it.
        VersionRevokedError: What it served was revoked and nothing is left.
        BaseModelMismatchError: The version is for another base model than the caller runs.
    """
    with sessions() as session:
        channel = seen_channel(session, caller, prefix, channel_name)
        rows = {row.version.number: row for row in served_versions(session, channel)}
        shares = [Share(number, row.weight) for number, row in sorted(rows.items())]
        chosen = share_of(unit, shares, salt=str(channel.id))
        if chosen is None:
            raise _nothing_served(session, prefix, channel)
    version = rows[chosen.version].version
    if base_model is not None and base_model != version.base_model.digest:
        raise BaseModelMismatchError(
            f"{channel_name} of {prefix} serves version {version.number}, which is for the base "
            f"model {version.base_model.digest}, not {base_model}.",
            base_model=version.base_model.digest,
        )
    return Resolution(prefix, channel, version, chosen.weight)


def heaviest_number(session: Session, prefix: PrefixName, channel: Channel) -> int:
    """Return the number of the version that gets most of the channel's traffic.

    Raises:
        ChannelEmptyError: Nothing was ever promoted to it.
        VersionRevokedError: What it served was revoked and nothing is left.
    """
    most = heaviest(allocation_of(session, channel))
    if most is None:
        raise _nothing_served(session, prefix, channel)
    return most.version


def _nothing_served(session: Session, prefix: PrefixName, channel: Channel) -> RegistryError:
    name = f"{channel.name} of {prefix}"
    latest = generation_numbered(session, channel, channel.generation)
    if latest is None:
        return ChannelEmptyError(f"{name} serves nothing yet; promote a version to it.")
    return VersionRevokedError(f"What {name} served was revoked: {latest.reason}")
