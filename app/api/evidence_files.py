"""The files that an evaluation was recorded from, over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from app.deps import Caller, PartsDep, SessionsDep
from app.domain.errors import DamagedObjectError, NotFoundError, RangeNotSatisfiableError
from app.problems import refuses
from app.sending import send_file
from app.services.evaluations import seen_file

router = APIRouter(tags=["evidence"])


@router.get(
    "/evaluations/{evaluation_id}/files/{file}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"content": {"application/octet-stream": {}}, "description": "A part of the file."},
        304: {"description": "The client has these bytes."},
        **refuses(NotFoundError, RangeNotSatisfiableError, DamagedObjectError),
    },
)
def download_evidence(
    evaluation_id: UUID,
    file: str,
    sessions: SessionsDep,
    parts: PartsDep,
    caller: Caller,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Download a file of an evaluation; its ETag is its SHA-256.

    It is for those who see everything in the namespace: answers of a model may be private.
    """
    with sessions() as session:
        found = seen_file(session, evaluation_id=evaluation_id, name=file, caller=caller)
    etag = f'"{found.sha256}"'
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    return send_file(parts, found, range_header=range_, headers={"ETag": etag})
