"""Visibility: the reads and locks of a prefix's objects that check the caller's grants."""

from uuid import UUID

from sqlalchemy.orm import Session

from app.db.channels import channel_named
from app.db.models import Channel, Prefix, Promotion, Version
from app.db.prefixes import lock_prefix, prefix_visible_to
from app.db.promotions import promotion_place_visible_to, promotion_visible_to
from app.db.versions import version_numbered
from app.domain.errors import NotFoundError
from app.domain.identity.access import Caller, not_found
from app.domain.naming import PrefixName


def visible_prefix(session: Session, caller: Caller, name: PrefixName) -> Prefix:
    """Return a prefix that is visible to the caller.

    Readers see a prefix only if one of its channels serves them a version.

    Raises:
        NotFoundError: The prefix does not exist, or is not visible to the caller.
    """
    prefix = prefix_visible_to(session, caller, name)
    if prefix is None:
        raise name.missing()
    return prefix


def visible_version(session: Session, caller: Caller, name: PrefixName, number: int) -> Version:
    """Return a version that is visible to the caller.

    Readers see a version only if a channel serves it to them.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
    """
    caller.require_visible(name, unreleased=False)
    released_to = None if caller.can_see_unreleased(name.namespace) else caller
    version = version_numbered(session, name, number, released_to=released_to)
    if version is None:
        raise missing_version(name, number)
    return version


def visible_channel(session: Session, caller: Caller, prefix: PrefixName, name: str) -> Channel:
    """Return a channel that is visible to the caller.

    Raises:
        NotFoundError: The channel does not exist, or is not visible to the caller.
    """
    caller.require_visible(prefix, unreleased=False)
    channel = channel_named(session, prefix, name) if caller.can_see_channel(name) else None
    if channel is None:
        raise missing_channel(prefix, name)
    return channel


def visible_promotion(session: Session, caller: Caller, promotion_id: UUID) -> Promotion:
    """Return a promotion that is visible to the caller.

    Raises:
        NotFoundError: The promotion does not exist, or is not visible to the caller.
    """
    promotion = promotion_visible_to(session, caller, promotion_id)
    if promotion is None:
        raise not_found("promotion", str(promotion_id))
    return promotion


def visible_promotion_place(
    session: Session, caller: Caller, promotion_id: UUID
) -> tuple[PrefixName, str]:
    """Return the prefix and the channel of a promotion that is visible to the caller.

    Raises:
        NotFoundError: The promotion does not exist, or is not visible to the caller.
    """
    place = promotion_place_visible_to(session, caller, promotion_id)
    if place is None:
        raise not_found("promotion", str(promotion_id))
    return place


def lock_existing_prefix(session: Session, name: PrefixName) -> Prefix:
    """Return the prefix, locked for a change; the transaction has checked the caller's role.

    Raises:
        NotFoundError: The prefix does not exist.
    """
    prefix = lock_prefix(session, name)
    if prefix is None:
        raise name.missing()
    return prefix


def missing_version(prefix: PrefixName, number: int) -> NotFoundError:
    return NotFoundError(f"{prefix} has no version {number} that your grants cover.")


def missing_channel(prefix: PrefixName, name: str) -> NotFoundError:
    return NotFoundError(f"{prefix} has no channel {name} that your grants cover.")
