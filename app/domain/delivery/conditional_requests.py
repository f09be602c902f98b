"""Conditions on what a request finds (RFC 9110, 13): what it was, or that there is nothing."""

import re
from dataclasses import dataclass
from typing import Final

from app.domain.errors import MalformedRequestError, PreconditionFailedError
from app.domain.naming import Json, canonical_digest

ANYTHING: Final = "*"
_TAG: Final = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)|\s*,')


def entity_tag(*facts: Json) -> str:
    """Return the strong tag of whatever these facts determine."""
    return f'"{canonical_digest(facts).removeprefix("sha256:")[:32]}"'


def is_named(tag: str, header: str | None) -> bool:
    """Whether an If-None-Match header names what has `tag`, so that it need not be sent again.

    A header that cannot be read asks for nothing to be left out.
    """
    if header is None:
        return False
    try:
        named = _tags(header)
    except MalformedRequestError:
        return False
    return ANYTHING in named or tag in {each.removeprefix("W/") for each in named}


@dataclass(frozen=True, slots=True)
class Precondition:
    """What a write demands of what it finds; nothing by default."""

    if_match: str | None = None
    if_none_match: str | None = None

    def require(self, kind: str, tag: str | None) -> None:
        """Raise unless the condition holds for what has `tag`, None if there is nothing.

        Raises:
            PreconditionFailedError: There is something else, or nothing, or anything at all.
            MalformedRequestError: A header is no list of entity tags.
        """
        if self.if_match is not None:
            wanted = _tags(self.if_match)
            if tag is None or (ANYTHING not in wanted and tag not in wanted):
                found = "does not exist" if tag is None else f"has changed; its ETag is {tag} now"
                raise PreconditionFailedError(f"{kind} {found}. Read it again, then decide.")
        if self.if_none_match is not None and tag is not None:
            wanted = _tags(self.if_none_match)
            if ANYTHING in wanted or tag in {each.removeprefix("W/") for each in wanted}:
                raise PreconditionFailedError(f"{kind} exists already, with the ETag {tag}.")


def _tags(header: str) -> frozenset[str]:
    """Return the entity tags that a header lists, or `*` alone."""
    if header.strip() == ANYTHING:
        return frozenset({ANYTHING})
    found, position = set(), 0
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None or match.end() == position:
            break
        found.add(match[1])
        position = match.end()
    if position < len(header) or not found - {None}:
        raise MalformedRequestError(
            'If-Match and If-None-Match take `*` or quoted entity tags, as `ETag` gives them: "…".'
        )
    return frozenset(found - {None})
