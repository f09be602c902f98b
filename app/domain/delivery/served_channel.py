"""The served state of a channel: everything that a response to a fleet contains."""

from dataclasses import dataclass
from uuid import UUID

from app.domain.artifacts.manifest import revision_of
from app.domain.errors import BaseModelMismatchError
from app.domain.governance.allocation import Share, share_of
from app.domain.naming import PrefixName

ChannelKey = tuple[str, str, str]  # namespace, name, channel


@dataclass(frozen=True, slots=True)
class ServedFile:
    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version with its share of the traffic, `weight` in basis points."""

    id: UUID
    number: int
    weight: int
    digest: str
    base_model: str
    files: tuple[ServedFile, ...]

    @property
    def revision(self) -> str:
        return revision_of(self.digest)


@dataclass(frozen=True, slots=True)
class ServedChannel:
    """A channel at one generation; `versions` are empty if it serves nothing."""

    id: UUID
    prefix_id: UUID
    prefix: PrefixName
    name: str
    generation: int
    versions: tuple[ServedVersion, ...]

    @property
    def key(self) -> ChannelKey:
        return self.prefix.namespace, self.prefix.name, self.name

    def serves(self, version_id: UUID) -> bool:
        return any(version.id == version_id for version in self.versions)

    def version_for(self, unit: str | None) -> ServedVersion | None:
        """Return the version that serves `unit`, always the same one in one generation."""
        shares = [Share(version.number, version.weight) for version in self.versions]
        chosen = share_of(unit, shares, salt=str(self.id))
        return None if chosen is None else self.versions[shares.index(chosen)]

    def require_base(self, version: ServedVersion, base_model: str | None) -> None:
        """Raise unless `version` is for the base model that the caller says it runs.

        Raises:
            BaseModelMismatchError: The version is for another base model.
        """
        if base_model is not None and base_model != version.base_model:
            raise BaseModelMismatchError(
                f"{self.name} of {self.prefix} serves version {version.number}, which is for the "
                f"base model {version.base_model}, not {base_model}.",
                base_model=version.base_model,
            )
