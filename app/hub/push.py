"""Endpoints for pushing with Hugging Face clients: a commit becomes a new, unapproved version."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.domain.artifacts.manifest import CONFIG_FILE, WEIGHTS_FILE
from app.domain.artifacts.quotas import Stored
from app.domain.errors import AlreadyExistsError, Fault, InvalidRequestError
from app.domain.identity.access import Role
from app.domain.naming import RESERVED_NAMESPACES, PrefixName, is_name, is_namespace
from app.http.bodies import JsonBody
from app.http.deps import (
    BlobsDep,
    Caller,
    LimitsDep,
    PrefixPath,
    QuotaDep,
    StagingDep,
    TransactionsDep,
)
from app.http.role_checks import needs, needs_room, needs_somewhere
from app.hub.commit import REGULAR_LIMIT_BYTES, Commit, received_commit
from app.hub.front_matter import declared_in
from app.hub.repository import README
from app.hub.route import HubRoute
from app.services.artifacts import prefixes, uploads, versions
from app.services.artifacts.base_models import find_base_model_digest
from app.services.artifacts.quotas import require_room
from app.services.artifacts.spooled_files import ReceivedFile
from app.services.transactions import Transactions

router = APIRouter(route_class=HubRoute, include_in_schema=False)

_DECLARED_BYTES: Final = 256 * 1024
_IGNORED: Final = {".gitattributes", README}


_HOW_TO_SEND_LARGE_FILES: Final = (
    f"Send files above {REGULAR_LIMIT_BYTES >> 20} MiB as Git LFS, which huggingface_hub does when "
    "HF_HUB_DISABLE_XET=1 is set."
)


class RepositoryIn(BaseModel):
    name: str
    organization: str | None = None
    type: str | None = None


class AnnouncedFile(BaseModel):
    path: str
    size: int = Field(ge=0)


class PreuploadIn(BaseModel):
    files: list[AnnouncedFile] = Field(max_length=100)


class LargeObject(BaseModel):
    oid: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1)


class BatchIn(BaseModel):
    operation: str
    objects: list[LargeObject] = Field(max_length=100)


@router.post("/api/repos/create", dependencies=[needs_somewhere(Role.PUBLISHER)])
def create_repository(
    body: JsonBody[RepositoryIn], request: Request, transactions: TransactionsDep
) -> Response:
    """Create a prefix owned by the caller; 409 with its address if it exists already."""
    name = PrefixName(body.organization or transactions.caller.name, body.name)
    if body.type not in (None, "model"):
        raise _refused("type", "The registry stores only models.")
    if not (is_namespace(name.namespace) and is_name(name.name)) or (
        name.namespace in RESERVED_NAMESPACES
    ):
        message = f"{name} cannot be the name of a prefix; namespaces are in lower case."
        raise _refused("name", message)
    address = {"url": f"{str(request.base_url).rstrip('/')}/{name}", "id": str(name)}
    try:
        prefixes.create(
            transactions,
            name=name,
            owner=transactions.caller.name,
            description="",
            intended_uses=[],
        )
    except AlreadyExistsError as error:
        return JSONResponse(address | {"error": error.detail}, status_code=409)
    return JSONResponse(address)


@router.post("/api/validate-yaml")
def validate_yaml(_caller: Caller) -> dict[str, list[str]]:
    """Report no errors; the commit checks the front matter."""
    return {"errors": [], "warnings": []}


@router.post(
    "/api/models/{namespace}/{name}/preupload/{revision}", dependencies=[needs(Role.PUBLISHER)]
)
def preupload(
    prefix: PrefixPath,
    body: JsonBody[PreuploadIn],
    response: Response,
    transactions: TransactionsDep,
    quota: QuotaDep,
) -> dict[str, Any]:
    """Decide which files are sent inside the commit, and which go to the store first.

    An adapter that does not fit into the quota is refused here, before its bytes are sent.
    For the latter the client must use Git LFS. With its own protocol (Xet) enabled, it does not
    show the message of a later refusal, but it does show a warning in this response.
    """
    stored = [file.size for file in body.files if file.path in (CONFIG_FILE, WEIGHTS_FILE)]
    require_room(transactions, prefix.namespace, Stored(sum(stored)), quota)
    large = {file.path for file in body.files if file.size > REGULAR_LIMIT_BYTES}
    if large:
        response.headers["X-HF-Warning"] = f"large-files; {_HOW_TO_SEND_LARGE_FILES}"
    return {
        "files": [
            {
                "path": file.path,
                "uploadMode": "lfs" if file.path in large else "regular",
                "shouldIgnore": False,
            }
            for file in body.files
        ]
    }


@router.get("/api/models/{namespace}/{name}/xet-write-token/{revision}")
def xet_write_token(prefix: PrefixPath, caller: Caller) -> Response:
    caller.require(Role.PUBLISHER, prefix)
    raise _refused("protocol", _HOW_TO_SEND_LARGE_FILES)


@router.post("/{namespace}/{name}.git/info/lfs/objects/batch", dependencies=[needs(Role.PUBLISHER)])
def large_objects(
    prefix: PrefixPath,
    body: JsonBody[BatchIn],
    transactions: TransactionsDep,
    staging: StagingDep,
    limits: LimitsDep,
    quota: QuotaDep,
) -> Response:
    """Return, for each large file, the request that uploads it to the store."""
    if body.operation != "upload":
        raise _refused("operation", "Download files from their resolve URL.")
    announced = uploads.begin_all(
        transactions,
        prefix=prefix,
        files=[(f"sha256:{each.oid}", each.size) for each in body.objects],
        limit_bytes=limits.weights_bytes,
        quota=quota,
    )
    objects = []
    for each, upload in zip(body.objects, announced, strict=True):
        (put,) = uploads.requests_for(staging, upload, in_url=True)
        actions = {"upload": {"href": put.url, "header": put.headers}}
        objects.append({"oid": each.oid, "size": each.size, "actions": actions})
    document = {"transfer": "basic", "objects": objects, "hash_algo": "sha256"}
    return JSONResponse(document, media_type="application/vnd.git-lfs+json")


async def _commit(request: Request, _caller: Caller) -> AsyncIterator[Commit]:
    """Read the body; the route has admitted the caller."""
    async with received_commit(request) as commit:
        yield commit


@router.post(
    "/api/models/{namespace}/{name}/commit/{revision}",
    dependencies=[needs(Role.PUBLISHER), needs_room()],
)
def commit(
    request: Request,
    prefix: PrefixPath,
    revision: str,
    found: Annotated[Commit, Depends(_commit)],
    transactions: TransactionsDep,
    blobs: BlobsDep,
    staging: StagingDep,
    quota: QuotaDep,
) -> dict[str, Any]:
    """Register the adapter in a commit as the next version; channels do not change."""
    if revision != "main":
        raise _refused("revision", "A push creates the next version; commit to main.")
    _require_adapter(found)
    with ExitStack() as stack:
        announced = {
            path: uploads.announced(transactions, prefix=prefix, sha256=f"sha256:{large.oid}")
            for path, large in found.large.items()
        }
        added = Stored(sum(upload.size_bytes for upload in announced.values()), versions=1)
        require_room(transactions, prefix.namespace, added, quota)
        for path, upload in announced.items():
            found.files[path] = stack.enter_context(uploads.received(staging, upload))
        row, _ = versions.push(
            transactions,
            blobs,
            prefix=prefix,
            pushed=_push(transactions, found),
            quota=quota,
        )
    address = f"{str(request.base_url).rstrip('/')}/{prefix}/commit/{row.revision}"
    return {"success": True, "commitOid": row.revision, "commitUrl": address, "hookOutput": ""}


def _require_adapter(found: Commit) -> None:
    """Refuse a commit without exactly one complete adapter: commits are never combined."""
    given = {*found.files, *found.large}
    faults = [
        Fault("missing", f"{name} is missing; send both files of the adapter in one commit.")
        for name in (CONFIG_FILE, WEIGHTS_FILE)
        if name not in given
    ]
    faults += [
        Fault("unknown-file", f"{path[:80]} is not a file of a prefix adapter; remove it.")
        for path in sorted(given - {CONFIG_FILE, WEIGHTS_FILE} - _IGNORED)
    ]
    faults += [
        Fault("deletion", f"{path[:80]} cannot be deleted: versions never change.")
        for path in found.deleted
    ]
    if faults:
        raise InvalidRequestError("The commit is refused.", faults)


def _push(transactions: Transactions, found: Commit) -> versions.Push:
    config = found.files[CONFIG_FILE]
    declared = declared_in(_content(config), _content(found.files.get(README)))
    with transactions.read() as session:
        base_model = find_base_model_digest(
            session,
            digest=declared.base_digest,
            name=declared.base_name,
            revision=declared.base_revision,
        )
    return versions.Push(
        base_model=base_model,
        config=config,
        weights=found.files[WEIGHTS_FILE],
        card=declared.card,
        lineage={"client": "huggingface_hub"},
    )


def _content(file: ReceivedFile | None) -> bytes:
    if file is None:
        return b""
    file.content.seek(0)
    return file.content.read(_DECLARED_BYTES)


def _refused(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError("The request is refused.", [Fault(field, message)])
