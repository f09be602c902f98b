"""Endpoints for pulling with Hugging Face clients: model information, trees, refs and files.

Files at a mutable revision (a channel, `main`, `vN`) redirect to the 40-hex revision, on HEAD and
GET alike. Otherwise a promotion between a client's two requests would store one version's bytes
in its cache under another version's name.
"""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from app.db.channels import allocations_of, channels_of
from app.db.models import Version
from app.domain.errors import ChannelEmptyError
from app.domain.naming import PrefixName, rfc3339
from app.http.deps import Caller, Now, PartsDep, PrefixPath, SessionsDep
from app.http.downloads import note_download, send_file
from app.http.transfers import sends_version
from app.hub.card import card_of
from app.hub.repository import (
    README,
    RepositoryFile,
    generated_card,
    sibling,
    stored_files,
    tree_entry,
)
from app.hub.route import EntryNotFoundError, HubRoute, RevisionNotFoundError
from app.services.delivery.revisions import (
    DEFAULT_CHANNEL,
    DEFAULT_REVISION,
    is_pinned,
    version_named,
)
from app.services.identity.visibility import visible_prefix

router = APIRouter(route_class=HubRoute, include_in_schema=False)


Revision = Annotated[str, Path(max_length=96)]


@router.get("/api/whoami-v2")
def whoami(caller: Caller) -> dict[str, object]:
    return {
        "type": "user",
        "name": caller.name,
        "fullname": caller.name,
        "orgs": [],
        "auth": {"type": "access_token"},
    }


@router.get("/api/models/{namespace}/{name}")
def model(
    prefix: PrefixPath, sessions: SessionsDep, caller: Caller, *, blobs: bool = False
) -> dict[str, object]:
    """Describe the repository at `main`, or without files while `production` is empty."""
    with sessions() as session:
        row = visible_prefix(session, caller, prefix)
        serving = channels_of(session, [row.id]).get(row.id, [])
        current = {channel.name for channel in serving if channel.generation}
    if DEFAULT_CHANNEL in current:
        return model_at(prefix, DEFAULT_REVISION, sessions, caller, blobs=blobs)
    return {"id": str(prefix), "private": True, "tags": [], "siblings": []}


@router.get("/api/models/{namespace}/{name}/revision/{revision}")
def model_at(
    prefix: PrefixPath,
    revision: Revision,
    sessions: SessionsDep,
    caller: Caller,
    *,
    blobs: Annotated[bool, Query()] = False,
) -> dict[str, object]:
    version, files = _all_at(prefix, revision, sessions, caller)
    return {
        "id": str(prefix),
        "modelId": str(prefix),
        "author": prefix.namespace,
        "sha": version.revision,
        "private": True,
        "gated": False,
        "disabled": False,
        "library_name": "peft",
        "tags": ["peft", "prefix-tuning", f"base_model:{version.base_model.name}"],
        "createdAt": rfc3339(version.created_at),
        "lastModified": rfc3339(version.created_at),
        "siblings": [sibling(file, with_blobs=blobs) for file in files],
    }


@router.get("/api/models/{namespace}/{name}/tree/{revision}")
def tree(
    prefix: PrefixPath, revision: Revision, sessions: SessionsDep, caller: Caller
) -> list[dict[str, object]]:
    _, files = _all_at(prefix, revision, sessions, caller)
    return [tree_entry(file) for file in files]


@router.get("/api/models/{namespace}/{name}/refs")
def refs(prefix: PrefixPath, sessions: SessionsDep, caller: Caller) -> dict[str, object]:
    """List the channels that serve a version as branches; `main` is `production`."""
    with sessions() as session:
        row = visible_prefix(session, caller, prefix)
        channels = channels_of(session, [row.id]).get(row.id, [])
        serving = allocations_of(session, channels)
        names = [
            channel.name
            for channel in channels
            if serving.get(channel.id) and caller.can_see_channel(channel.name)
        ]
        aliases = [DEFAULT_REVISION] if DEFAULT_CHANNEL in names else []
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": found.revision}
            for name in (*aliases, *names)
            if (found := version_named(session, caller, prefix, name))
        ]
    return {"branches": branches, "converts": [], "tags": []}


@router.api_route("/{namespace}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def resolve_file(
    request: Request,
    prefix: PrefixPath,
    revision: Revision,
    path: str,
    sessions: SessionsDep,
    parts: PartsDep,
    caller: Caller,
    now: Now,
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    with sessions() as session:
        try:
            version = _at(session, prefix, revision, caller)
        except ChannelEmptyError as error:
            # Before a first push, clients look for an existing card and expect this response.
            raise EntryNotFoundError(error.detail) if path == README else error from error
        file = _file(session, version, path, caller)
    if file is None:
        raise EntryNotFoundError(f"{prefix} has no file {path[:80]} at {revision}.")
    headers = {"X-Repo-Commit": version.revision, "ETag": f'"{file.sha256}"'}
    if not is_pinned(revision):
        target = f"/{prefix}/resolve/{version.revision}/{quote(path)}"
        return RedirectResponse(target, status_code=307, headers=headers)
    if request.method == "HEAD" or file.stored is None:
        return _without_stream(file, headers)
    note_download(parts, version, file.stored, caller, range_, now)
    sends_version(request.scope, version)
    return send_file(parts, file.stored, range_header=range_, headers=headers)


def _without_stream(file: RepositoryFile, headers: dict[str, str]) -> Response:
    """Respond to a HEAD, or with a generated file; for HEAD, the server drops the body."""
    length = {"Content-Length": str(file.size_bytes), "Accept-Ranges": "bytes"}
    media_type = "text/markdown; charset=utf-8" if file.stored is None else None
    return Response(file.content, headers=headers | length, media_type=media_type)


def _file(session: Session, version: Version, path: str, caller: Caller) -> RepositoryFile | None:
    """Return one file of a version; the card is generated only if it is the one requested."""
    if path == README:
        return generated_card(card_of(session, version, caller))
    return next((file for file in stored_files(version) if file.path == path), None)


def _at(session: Session, prefix: PrefixName, revision: str, caller: Caller) -> Version:
    version = version_named(session, caller, prefix, revision)
    if version is None:
        message = f"{prefix} has no revision {revision}; use a channel, vN or 40 hex digits."
        raise RevisionNotFoundError(message)
    return version


def _all_at(
    prefix: PrefixName, revision: str, sessions: SessionsDep, caller: Caller
) -> tuple[Version, list[RepositoryFile]]:
    with sessions() as session:
        version = _at(session, prefix, revision, caller)
        return version, [generated_card(card_of(session, version, caller)), *stored_files(version)]
