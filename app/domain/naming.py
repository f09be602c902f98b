"""Names and their forms: digests, prefix names, revisions, labels and timestamps."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import rfc8785

from app.domain.errors import NotFoundError

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

DIGEST_PATTERN: Final = r"^sha256:[0-9a-f]{64}$"
REVISION_PATTERN: Final = r"^[0-9a-f]{40}$"

# The rules of a Hugging Face repository id (huggingface_hub.utils.validate_repo_id), so that its
# clients can request any prefix.
NAME_PATTERN: Final = r"^[A-Za-z0-9](?:[A-Za-z0-9]|[._-](?![._-])){0,94}$"
_NAME = re.compile(NAME_PATTERN)

# First path segments of the server's own routes.
RESERVED_NAMESPACES: Final = frozenset(
    {"admin", "api", "docs", "healthz", "metrics", "openapi.json", "problems", "readyz", "v1"}
)

# Names that another dialect reads as something else than a channel: Hugging Face clients ask for
# `main`, for `v2` and for revisions of 40 digits, git also for abbreviated revisions and `HEAD`,
# and other registries call the newest version `latest`. Git has no name with `..` or `.lock`.
RESERVED_CHANNEL_PATTERN: Final = (
    r"^(main|master|head|latest|refs|refs/.*|v[0-9]+|[0-9a-f]{7,64}|.*[.][.].*|.*[.]lock)$"
)
_RESERVED_CHANNEL = re.compile(RESERVED_CHANNEL_PATTERN, re.IGNORECASE)

LABEL_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"


@dataclass(frozen=True, slots=True, order=True)
class PrefixName:
    """A prefix's full name, `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def missing(self) -> NotFoundError:
        """Return the error for a prefix that does not exist or is not visible to the caller."""
        return NotFoundError(f"There is no prefix {self}, or your grants do not cover it.")


def is_name(text: str) -> bool:
    """Return whether `text` is valid as a namespace or as a prefix's own name."""
    return bool(_NAME.fullmatch(text)) and text[-1].isalnum() and not text.endswith(".git")


def is_namespace(text: str) -> bool:
    """Return whether `text` is valid as a namespace, which is in lower case: `Acme` is `acme`."""
    return is_name(text) and text == text.lower()


def is_reserved_channel(text: str) -> bool:
    """Return whether `text`, in any case, has a meaning of its own in place of a channel."""
    return bool(_RESERVED_CHANNEL.fullmatch(text))


def sha256_digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical_json(document: Json) -> bytes:
    """Return a JSON document in its canonical form (RFC 8785)."""
    return rfc8785.dumps(document)


def canonical_digest(document: Json) -> str:
    """Return the digest of a JSON document in its canonical form."""
    return sha256_digest(canonical_json(document))


def rfc3339(moment: datetime) -> str:
    """Return a time in the only form that is hashed: UTC, six decimals, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
