"""What a caller may see and lock: the door that every use case below a prefix goes through."""

from uuid import UUID

from sqlalchemy.orm import Session

from app.db.channels import channel_named
from app.db.models import Channel, Prefix, Promotion, Version
from app.db.prefixes import lock_prefix, prefix_visible_to
from app.db.promotions import promotion_place_visible_to, promotion_visible_to
from app.db.versions import version_numbered
from app.domain.errors import NotFoundError
from app.domain.identity.access import Caller, Role, nothing_named
from app.domain.naming import PrefixName


def visible_prefix(session: Session, caller: Caller, name: PrefixName) -> Prefix:
    """Return a prefix that the caller may see: a reader only one that serves something to it.

    Raises:
        NotFoundError: It does not exist, or looks so to this caller.
    """
    prefix = prefix_visible_to(session, caller, name)
    if prefix is None:
        raise name.missing()
    return prefix


def visible_version(session: Session, caller: Caller, name: PrefixName, number: int) -> Version:
    """Return a version that the caller may see: a reader only one that a channel serves to it.

    Raises:
        NotFoundError: It does not exist, or looks so to this caller.
    """
    caller.require_visible(name, unreleased=False)
    released_to = None if caller.sees_everything(name.namespace) else caller
    version = version_numbered(session, name, number, released_to=released_to)
    if version is None:
        raise missing_version(name, number)
    return version


def visible_channel(session: Session, caller: Caller, prefix: PrefixName, name: str) -> Channel:
    """Return a channel that the caller may read.

    Raises:
        NotFoundError: It does not exist, or looks so to this caller.
    """
    caller.require_visible(prefix, unreleased=False)
    channel = channel_named(session, prefix, name) if caller.sees_channel(name) else None
    if channel is None:
        raise missing_channel(prefix, name)
    return channel


def visible_promotion(session: Session, caller: Caller, promotion_id: UUID) -> Promotion:
    """Return a promotion that the caller may see.

    Raises:
        NotFoundError: It does not exist, or looks so to this caller.
    """
    promotion = promotion_visible_to(session, caller, promotion_id)
    if promotion is None:
        raise nothing_named("promotion", str(promotion_id))
    return promotion


def visible_promotion_place(
    session: Session, caller: Caller, promotion_id: UUID
) -> tuple[PrefixName, str]:
    """Return the prefix and the channel of a promotion that the caller may see.

    Raises:
        NotFoundError: It does not exist, or looks so to this caller.
    """
    place = promotion_place_visible_to(session, caller, promotion_id)
    if place is None:
        raise nothing_named("promotion", str(promotion_id))
    return place


def lock_prefix_as(role: Role, session: Session, caller: Caller, name: PrefixName) -> Prefix:
    """Return the prefix, locked for a write that takes `role`.

    Raises:
        NotFoundError: It does not exist, or looks so to this caller.
        ForbiddenError: The caller sees it but lacks the role.
    """
    caller.require(role, name)
    prefix = lock_prefix(session, name)
    if prefix is None:
        raise name.missing()
    return prefix


def missing_version(prefix: PrefixName, number: int) -> NotFoundError:
    return NotFoundError(f"There is no version {number} of {prefix} that your grants cover.")


def missing_channel(prefix: PrefixName, name: str) -> NotFoundError:
    return NotFoundError(f"{prefix} has no channel {name} that your grants cover.")
