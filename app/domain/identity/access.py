"""Who may do what: roles, grants, and the one place where a refusal to a caller is decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.domain.errors import ForbiddenError, NotFoundError
from app.domain.naming import PrefixName

EVERYWHERE: Final = "*"


class PrincipalKind(StrEnum):
    HUMAN = "human"
    SERVICE = "service"


class Role(StrEnum):
    """What a grant allows in its namespace. No role implies another, but all see what they work on.

    A reader sees only what a channel serves; an auditor sees the audit log and nothing else.
    """

    READER = "reader"
    PUBLISHER = "publisher"
    EVALUATOR = "evaluator"
    APPROVER = "approver"
    ADMIN = "admin"
    AUDITOR = "auditor"


_SEES_EVERYTHING: Final = frozenset({Role.PUBLISHER, Role.EVALUATOR, Role.APPROVER, Role.ADMIN})
_SEES_RELEASED: Final = _SEES_EVERYTHING | {Role.READER}


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    role: Role
    namespace: str

    def covers(self, namespace: str) -> bool:
        return self.namespace in (namespace, EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated principal behind a request, with the grants its token carries.

    A token that is limited to channels can do nothing but read what those channels serve.
    """

    id: UUID
    name: str
    kind: PrincipalKind
    grants: frozenset[Grant]
    channels: frozenset[str] | None = None

    def roles(self, namespace: str) -> frozenset[Role]:
        held = frozenset(grant.role for grant in self.grants if grant.covers(namespace))
        if self.channels is None:
            return held
        return frozenset({Role.READER}) if held & _SEES_RELEASED else frozenset()

    def sees_everything(self, namespace: str) -> bool:
        return bool(self.roles(namespace) & _SEES_EVERYTHING)

    def sees_channel(self, channel: str) -> bool:
        return self.channels is None or channel in self.channels

    def namespaces(self) -> frozenset[str]:
        """The namespaces in which anything at all is visible; `*` among them means all."""
        return frozenset(
            grant.namespace for grant in self.grants if self.roles(grant.namespace) & _SEES_RELEASED
        )

    def whole_namespaces(self) -> frozenset[str]:
        """The namespaces in which everything is visible; `*` among them means all."""
        return frozenset(name for name in self.namespaces() if self.sees_everything(name))

    def require_visible(self, prefix: PrefixName, *, unreleased: bool = True) -> None:
        """Raise unless the caller may see into the prefix; what it may not see does not exist.

        Raises:
            NotFoundError: No grant covers it, or only a reader's does and `unreleased` is asked.
        """
        wanted = _SEES_EVERYTHING if unreleased else _SEES_RELEASED
        if not self.roles(prefix.namespace) & wanted:
            raise prefix.missing()

    def require(self, role: Role, prefix: PrefixName) -> None:
        """Raise unless the caller holds `role` over an existing prefix.

        Raises:
            NotFoundError: The caller may not even know of it.
            ForbiddenError: It may know, but not do this.
        """
        held = self.roles(prefix.namespace)
        if role in held:
            return
        if not held & _SEES_EVERYTHING:
            raise prefix.missing()
        raise self._lacks([role], f"on namespace {prefix.namespace}")

    def require_in(self, role: Role, namespace: str) -> None:
        """Raise ForbiddenError unless the caller holds `role` in `namespace` (or `*`)."""
        if role not in self.roles(namespace):
            scope = "on every namespace (*)" if namespace == EVERYWHERE else f"on {namespace}"
            raise self._lacks([role], scope)

    def require_anywhere(self, *roles: Role) -> None:
        """Raise ForbiddenError unless the caller holds one of `roles` in some namespace."""
        held = {role for grant in self.grants for role in self.roles(grant.namespace)}
        if not held.intersection(roles):
            raise self._lacks(roles, "on some namespace")

    def require_some_part(self) -> None:
        """Raise ForbiddenError unless the caller takes part: an auditor reads the log alone."""
        self.require_anywhere(*(role for role in Role if role in _SEES_RELEASED))

    def require_work(self) -> None:
        """Raise ForbiddenError unless the caller does more here than read what is served."""
        self.require_anywhere(*(role for role in Role if role in _SEES_EVERYTHING))

    def _lacks(self, roles: Sequence[Role], scope: str) -> ForbiddenError:
        limit = "" if self.channels is None else " and a token that is not limited to channels"
        wanted = "the role " if len(roles) == 1 else "one of the roles "
        return ForbiddenError(
            f"{self.name} needs {wanted}{', '.join(roles)} {scope}{limit} for this."
        )


def nothing_named(kind: str, name: str) -> NotFoundError:
    return NotFoundError(f"There is no {kind} {name}, or your grants do not cover it.")


# Whoever can run the server's own commands acts through it: the first principals are its work.
SYSTEM: Final = Caller(
    id=UUID(int=0),
    name="prefix-registry",
    kind=PrincipalKind.SERVICE,
    grants=frozenset({Grant(Role.ADMIN, EVERYWHERE)}),
)
