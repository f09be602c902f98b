"""Authorisation: roles, grants, and the only checks that refuse a caller."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.domain.errors import ForbiddenError, NotFoundError
from app.domain.identity.credentials import Credential, ServerCredential
from app.domain.naming import PrefixName

EVERYWHERE: Final = "*"


class PrincipalKind(StrEnum):
    HUMAN = "human"
    SERVICE = "service"


class Role(StrEnum):
    """The role that a grant gives in its namespace. No role implies another.

    Publishers, evaluators, approvers and admins see everything in the namespace. A reader sees
    only the versions that a channel serves; an auditor sees only the audit log.
    """

    READER = "reader"
    PUBLISHER = "publisher"
    EVALUATOR = "evaluator"
    APPROVER = "approver"
    ADMIN = "admin"
    AUDITOR = "auditor"


_WORKING_ROLES: Final = frozenset({Role.PUBLISHER, Role.EVALUATOR, Role.APPROVER, Role.ADMIN})
_READING_ROLES: Final = _WORKING_ROLES | {Role.READER}


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    role: Role
    namespace: str

    def covers(self, namespace: str) -> bool:
        return self.namespace in (namespace, EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated principal behind a request, with the grants its credential carries.

    A token that is limited to channels can only read the versions that those channels serve.
    """

    id: UUID
    name: str
    kind: PrincipalKind
    grants: frozenset[Grant]
    credential: Credential
    channels: frozenset[str] | None = None

    def roles(self, namespace: str) -> frozenset[Role]:
        held = frozenset(grant.role for grant in self.grants if grant.covers(namespace))
        if self.channels is None:
            return held
        return frozenset({Role.READER}) if held & _READING_ROLES else frozenset()

    def can_see_unreleased(self, namespace: str) -> bool:
        return bool(self.roles(namespace) & _WORKING_ROLES)

    def can_see_channel(self, channel: str) -> bool:
        return self.channels is None or channel in self.channels

    def namespaces(self) -> frozenset[str]:
        """Return the namespaces in which some version may be visible; `*` means all of them."""
        return frozenset(
            grant.namespace for grant in self.grants if self.roles(grant.namespace) & _READING_ROLES
        )

    def fully_visible_namespaces(self) -> frozenset[str]:
        """Return the namespaces in which every version is visible; `*` means all of them."""
        return frozenset(name for name in self.namespaces() if self.can_see_unreleased(name))

    def require_visible(self, prefix: PrefixName, *, unreleased: bool = True) -> None:
        """Raise unless the prefix is visible, with `unreleased` including unserved versions.

        Raises:
            NotFoundError: No grant covers the prefix, or `unreleased` is set and only a reader's
                grant does.
        """
        sufficient = _WORKING_ROLES if unreleased else _READING_ROLES
        if not self.roles(prefix.namespace) & sufficient:
            raise prefix.missing()

    def require(self, role: Role, prefix: PrefixName) -> None:
        """Raise unless the caller holds `role` over an existing prefix.

        Raises:
            NotFoundError: The caller may not learn that the prefix exists.
            ForbiddenError: The caller may know of the prefix, but lacks the role.
        """
        held = self.roles(prefix.namespace)
        if role in held:
            return
        if not held & _WORKING_ROLES:
            raise prefix.missing()
        raise self._missing_role([role], f"on namespace {prefix.namespace}")

    def require_in(self, role: Role, namespace: str) -> None:
        """Raise ForbiddenError unless the caller holds `role` in `namespace` (or `*`)."""
        if role not in self.roles(namespace):
            scope = "on every namespace (*)" if namespace == EVERYWHERE else f"on {namespace}"
            raise self._missing_role([role], scope)

    def require_anywhere(self, *roles: Role) -> None:
        """Raise ForbiddenError unless the caller holds one of `roles` in some namespace."""
        held = {role for grant in self.grants for role in self.roles(grant.namespace)}
        if not held.intersection(roles):
            raise self._missing_role(roles, "on some namespace")

    def require_participant(self) -> None:
        """Raise ForbiddenError unless the caller holds a role other than auditor."""
        self.require_anywhere(*(role for role in Role if role in _READING_ROLES))

    def require_working_role(self) -> None:
        """Raise ForbiddenError unless the caller holds a role other than reader and auditor."""
        self.require_anywhere(*(role for role in Role if role in _WORKING_ROLES))

    def _missing_role(self, roles: Sequence[Role], scope: str) -> ForbiddenError:
        limit = "" if self.channels is None else " and a token that is not limited to channels"
        choice = "the role " if len(roles) == 1 else "one of the roles "
        return ForbiddenError(
            f"{self.name} needs {choice}{', '.join(roles)} {scope}{limit} for this."
        )


def not_found(kind: str, name: str) -> NotFoundError:
    return NotFoundError(f"There is no {kind} {name}, or your grants do not cover it.")


# The principal recorded for actions of the server's own CLI, such as creating the first admin.
SYSTEM: Final = Caller(
    id=UUID(int=0),
    name="prefix-registry",
    kind=PrincipalKind.SERVICE,
    grants=frozenset({Grant(Role.ADMIN, EVERYWHERE)}),
    credential=ServerCredential(),
)

# The authority that a transaction needs: it returns for a caller who has it, and raises otherwise.
Requirement = Callable[[Caller], None]


def role_on(role: Role, prefix: PrefixName) -> Requirement:
    """Require `role` over an existing prefix; see `Caller.require`."""
    return lambda caller: caller.require(role, prefix)


def role_in(role: Role, namespace: str) -> Requirement:
    """Require `role` in a namespace, or in every one (`*`)."""
    return lambda caller: caller.require_in(role, namespace)


def role_anywhere(role: Role) -> Requirement:
    """Require `role` in some namespace."""
    return lambda caller: caller.require_anywhere(role)


def any_caller(_: Caller) -> None:
    """Require no role: the principal may do this by itself, as signing out."""
