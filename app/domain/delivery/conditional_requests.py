"""Conditional requests (RFC 9110, section 13): entity tags, and the preconditions of writes."""

import re
from dataclasses import dataclass
from typing import Final

from app.domain.errors import MalformedRequestError, PreconditionFailedError
from app.domain.naming import Json, canonical_digest

WILDCARD: Final = "*"
_TAG: Final = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)|\s*,')


def entity_tag(*values: Json) -> str:
    """Return the strong entity tag of the object that these values determine."""
    return f'"{canonical_digest(values).removeprefix("sha256:")[:32]}"'


def is_named(tag: str, header: str | None) -> bool:
    """Return whether an If-None-Match header lists `tag`, so that the body can be left out.

    A malformed header lists nothing.
    """
    if header is None:
        return False
    try:
        listed = _tags(header)
    except MalformedRequestError:
        return False
    return WILDCARD in listed or tag in {each.removeprefix("W/") for each in listed}


@dataclass(frozen=True, slots=True)
class Precondition:
    """The state that a write demands of its object; none by default."""

    if_match: str | None = None
    if_none_match: str | None = None

    def require(self, kind: str, tag: str | None) -> None:
        """Raise unless the condition holds for an object with `tag`; None if there is none.

        Raises:
            PreconditionFailedError: The object has another tag, is missing, or exists although
                it must not.
            MalformedRequestError: A header is not a list of entity tags.
        """
        if self.if_match is not None:
            admitted = _tags(self.if_match)
            if tag is None or (WILDCARD not in admitted and tag not in admitted):
                found = "does not exist" if tag is None else f"has changed; its ETag is {tag} now"
                raise PreconditionFailedError(f"{kind} {found}. Read it again, then decide.")
        if self.if_none_match is not None and tag is not None:
            excluded = _tags(self.if_none_match)
            if WILDCARD in excluded or tag in {each.removeprefix("W/") for each in excluded}:
                raise PreconditionFailedError(f"{kind} already exists, with the ETag {tag}.")


def _tags(header: str) -> frozenset[str]:
    """Return the entity tags that a header lists, or `*` alone."""
    if header.strip() == WILDCARD:
        return frozenset({WILDCARD})
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
