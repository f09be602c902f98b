"""Quotas: the limits of a namespace, its use of them, and whether an addition fits."""

from dataclasses import asdict, dataclass
from typing import Final

from app.domain.errors import QuotaExceededError

MOST_BYTES: Final = 2**53 - 1
MOST_VERSIONS: Final = 2**31 - 1
MOST_REQUESTS: Final = 100_000

# Each announcement reads the sum of the others, so their number is bounded.
MOST_ANNOUNCED: Final = 10_000


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """The limits of a namespace.

    Attributes:
        stored_bytes: The files of all versions, and of the evaluations of these versions.
        versions: The versions of all prefixes, including revoked ones.
        requests: Requests in progress, in each process.
    """

    stored_bytes: int
    versions: int
    requests: int


DEFAULT_LIMITS: Final = QuotaLimits(stored_bytes=100 << 30, versions=10_000, requests=256)


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """The limits that an administrator set for a namespace; None leaves one to the settings."""

    stored_bytes: int | None = None
    versions: int | None = None
    requests: int | None = None

    def over(self, defaults: QuotaLimits) -> QuotaLimits:
        return QuotaLimits(
            defaults.stored_bytes if self.stored_bytes is None else self.stored_bytes,
            defaults.versions if self.versions is None else self.versions,
            defaults.requests if self.requests is None else self.requests,
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """An amount of what a namespace stores: all of it, or an addition."""

    stored_bytes: int = 0
    versions: int = 0


@dataclass(frozen=True, slots=True)
class Announced:
    """Uploads that were announced and have not expired: those of a namespace, or more of them."""

    uploads: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NamespaceQuota:
    """A namespace's use, and the limits that were set for it."""

    namespace: str
    used: Stored = Stored()
    own: OwnLimits = OwnLimits()


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that an addition would pass, with the numbers behind it."""

    resource: str
    limit: int
    used: int
    requested: int


def require_fit(found: NamespaceQuota, added: Stored, defaults: QuotaLimits) -> None:
    """Check that an addition fits into a quota; what adds nothing to a resource always does.

    A limit may be below the use, so that evidence without files can be recorded even then.

    Raises:
        QuotaExceededError: The addition would pass one limit or more; the error names all.
    """
    limits = found.own.over(defaults)
    asked = (
        ("stored_bytes", limits.stored_bytes, found.used.stored_bytes, added.stored_bytes),
        ("versions", limits.versions, found.used.versions, added.versions),
    )
    _refuse(
        found.namespace,
        [Excess(*each) for each in asked if each[3] > 0 and each[2] + each[3] > each[1]],
    )


def require_fit_announced(
    found: NamespaceQuota, announced: Announced, added: Announced, defaults: QuotaLimits
) -> None:
    """Check that uploads fit beside the others that were announced.

    The store holds their bytes until they expire, pushed or not. They have the limit of stored
    bytes for themselves, because most of them are pushed and would otherwise count twice.

    Raises:
        QuotaExceededError: The announced bytes or their number would pass the limit.
    """
    require_fit(found, Stored(stored_bytes=added.size_bytes), defaults)
    limit = found.own.over(defaults).stored_bytes
    asked = (
        ("announced_bytes", limit, announced.size_bytes, added.size_bytes),
        ("announced_uploads", MOST_ANNOUNCED, announced.uploads, added.uploads),
    )
    _refuse(found.namespace, [Excess(*each) for each in asked if each[2] + each[3] > each[1]])


def _refuse(namespace: str, passed: list[Excess]) -> None:
    if not passed:
        return
    named = ", ".join(
        f"{each.resource}: {each.used:,} of {each.limit:,} used and {each.requested:,} requested"
        for each in passed
    )
    raise QuotaExceededError(
        f"This would pass the quota of the namespace {namespace} ({named}). Nothing was stored; "
        "ask an administrator of the registry to raise the quota.",
        exceeded=[asdict(each) for each in passed],
    )
