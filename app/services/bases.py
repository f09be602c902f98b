"""Finding the base model that a Hugging Face push means: by digest, or by name if it is unique."""

from app.db.base_models import base_models_named
from app.db.session import Sessions
from app.domain.errors import UnknownBaseModelError


def base_named(
    sessions: Sessions, *, digest: str | None, name: str | None, revision: str | None
) -> str:
    """Return the digest of the base model that is meant.

    Raises:
        UnknownBaseModelError: No name is given, or it is that of no base model or of several.
    """
    if digest is not None:
        return digest
    if name is None:
        raise UnknownBaseModelError(f"The adapter names no base model; {_HOW}")
    with sessions() as session:
        found = base_models_named(session, name, revision)
    if not found:
        at = "" if revision is None else f" at revision {revision}"
        raise UnknownBaseModelError(
            f"No base model is registered as {name}{at}; register it with POST /v1/base-models, "
            f"or {_HOW}"
        )
    if len(found) > 1:
        known = ", ".join(row.digest for row in found[:5])
        raise UnknownBaseModelError(f"{len(found)} base models are named {name} ({known}); {_HOW}")
    return found[0].digest


_HOW = "put `base_digest: sha256:...` into the front matter of README.md."
