"""Resolving a channel to the version that serves a unit."""

from sqlalchemy.orm import Session

from app.db.channels import allocation_of, channel_named, generation_numbered
from app.db.models import Channel, GenerationShare
from app.db.session import Sessions
from app.db.versions import served_versions
from app.domain.delivery.served_channel import ServedChannel, ServedFile, ServedVersion
from app.domain.errors import ChannelEmptyError, RegistryError, VersionRevokedError
from app.domain.governance.allocation import heaviest
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName
from app.services.identity.visibility import visible_channel


def resolve(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    channel_name: str,
    unit: str | None,
    base_model: str | None,
    caller: Caller,
) -> tuple[ServedChannel, ServedVersion]:
    """Return the channel's allocation, and the version that serves `unit`; takes two queries.

    Raises:
        NotFoundError: The channel does not exist, or is not visible to the caller.
        ChannelEmptyError: No version was ever promoted to the channel.
        VersionRevokedError: All versions that the channel served are revoked.
        BaseModelMismatchError: The version is for a different base model than the caller's.
    """
    with sessions() as session:
        channel = visible_channel(session, caller, prefix, channel_name)
        served = _served(session, channel)
        version = served.version_for(unit)
        if version is None:
            raise _nothing_served(session, prefix, channel)
    served.require_base(version, base_model)
    return served, version


def served_channel(session: Session, prefix: PrefixName, name: str) -> ServedChannel | None:
    """Return a channel's allocation without a check of visibility; None if it does not exist."""
    channel = channel_named(session, prefix, name)
    return None if channel is None else _served(session, channel)


def _served(session: Session, channel: Channel) -> ServedChannel:
    versions = sorted(map(_version, served_versions(session, channel)), key=lambda v: v.number)
    return ServedChannel(
        id=channel.id,
        prefix_id=channel.prefix_id,
        prefix=channel.prefix.full_name,
        name=channel.name,
        generation=channel.generation,
        versions=tuple(versions),
    )


def _version(share: GenerationShare) -> ServedVersion:
    version = share.version
    files = tuple(ServedFile(file.name, file.sha256, file.size_bytes) for file in version.files)
    return ServedVersion(
        id=version.id,
        number=version.number,
        weight=share.weight,
        digest=version.digest,
        base_model=version.base_model.digest,
        files=files,
    )


def heaviest_number(session: Session, prefix: PrefixName, channel: Channel) -> int:
    """Return the number of the version that gets most of the channel's traffic.

    Raises:
        ChannelEmptyError: No version was ever promoted to the channel.
        VersionRevokedError: All versions that the channel served are revoked.
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
    return VersionRevokedError(f"The version that {name} served was revoked: {latest.reason}")
