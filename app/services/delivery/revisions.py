"""Finding the version of a Hub revision: a channel, `vN`, or 40 hex digits."""

import re
from typing import Final

from sqlalchemy.orm import Session

from app.db.channels import channel_named
from app.db.models import Version
from app.db.versions import version_at_revision, version_numbered
from app.domain.errors import ChannelEmptyError, ForbiddenError
from app.domain.identity.access import Caller
from app.domain.naming import LABEL_PATTERN, REVISION_PATTERN, PrefixName
from app.services.delivery.resolve import heaviest_number
from app.services.governance.execution import require_not_revoked
from app.services.identity.visibility import visible_prefix

DEFAULT_REVISION: Final = "main"
DEFAULT_CHANNEL: Final = "production"

_PINNED = re.compile(REVISION_PATTERN)
_NUMBERED = re.compile(r"^v([1-9][0-9]{0,8})$")
_CHANNEL = re.compile(LABEL_PATTERN)


def is_pinned(revision: str) -> bool:
    """Whether a revision always names the same version."""
    return bool(_PINNED.fullmatch(revision))


def version_named(
    session: Session, caller: Caller, prefix: PrefixName, revision: str
) -> Version | None:
    """Return the version that `revision` names now, with its files; None if it names none.

    `main` is the channel `production`. A channel that splits its traffic stands for its heaviest
    version here, because a Hub request names no unit.

    Raises:
        NotFoundError: The prefix does not exist, or is not visible to the caller.
        ForbiddenError: The caller may read only released versions, and no channel serves this
            one; the error does not reveal whether the version exists.
        ChannelEmptyError: The channel serves nothing yet.
        VersionRevokedError: The version is revoked.
    """
    visible_prefix(session, caller, prefix)
    number = _NUMBERED.fullmatch(revision)
    if not number and not is_pinned(revision):
        return _served(session, caller, prefix, revision)
    released_to = None if caller.can_see_unreleased(prefix.namespace) else caller
    if number:
        found = version_numbered(session, prefix, int(number[1]), released_to=released_to)
    else:
        found = version_at_revision(session, prefix, revision, released_to=released_to)
    if found is None and released_to is not None:
        raise ForbiddenError(
            f"No channel that you may read serves {revision} of {prefix}; "
            f"use a channel as the revision, such as {DEFAULT_REVISION}."
        )
    if found is not None:
        require_not_revoked(found)
    return found


def _served(session: Session, caller: Caller, prefix: PrefixName, revision: str) -> Version | None:
    name = DEFAULT_CHANNEL if revision == DEFAULT_REVISION else revision
    if not _CHANNEL.fullmatch(name) or not caller.can_see_channel(name):
        return None
    channel = channel_named(session, prefix, name)
    if channel is None and revision == DEFAULT_REVISION:
        # Every repository has a `main`, even before its channel exists.
        raise ChannelEmptyError(f"{name} of {prefix} serves nothing yet; promote a version to it.")
    if channel is None:
        return None
    return version_numbered(session, prefix, heaviest_number(session, prefix, channel))
