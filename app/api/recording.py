"""What every way of recording an evaluation over HTTP shares: where, by whom, which refusals."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Path, Response

from app.api.evidence import EvaluationOut, evaluation_out
from app.db.session import Sessions
from app.deps import BlobsDep, Caller, Now, SessionsDep
from app.domain import access
from app.domain.errors import (
    EvidenceForAnotherArtifactError,
    ForbiddenError,
    InvalidEvaluationError,
    NotFoundError,
    TooLargeError,
    UnknownReferenceError,
    UnsupportedMediaTypeError,
)
from app.domain.identity import DIGEST_PATTERN, PrefixName
from app.problems import refuses
from app.services import evaluations
from app.services.reports import Submission
from app.storage.blobs import Blobs

BELOW_BASE_MODEL: Final = "/base-models/{digest}/evaluations"
BELOW_VERSION: Final = "/prefixes/{namespace}/{name}/versions/{number}/evaluations"
BaseModelPath = Annotated[str, Path(pattern=DIGEST_PATTERN)]
REFUSALS: Final = refuses(
    ForbiddenError,
    NotFoundError,
    EvidenceForAnotherArtifactError,
    TooLargeError,
    UnsupportedMediaTypeError,
    UnknownReferenceError,
    InvalidEvaluationError,
)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records what a request submits, and answers with it."""

    sessions: Sessions
    blobs: Blobs
    caller: access.Caller
    now: datetime
    response: Response

    def of_version(self, prefix: PrefixName, number: int, submission: Submission) -> EvaluationOut:
        row = evaluations.record(
            self.sessions,
            self.blobs,
            prefix=prefix,
            number=number,
            submission=submission,
            caller=self.caller,
            now=self.now,
        )
        self.response.headers["Location"] = f"/v1/prefixes/{prefix}/versions/{number}/evaluations"
        return evaluation_out(row)

    def of_base_model(self, digest: str, submission: Submission) -> EvaluationOut:
        row = evaluations.record_control_run(
            self.sessions,
            self.blobs,
            base_model=digest,
            submission=submission,
            caller=self.caller,
            now=self.now,
        )
        self.response.headers["Location"] = f"/v1/base-models/{digest}/evaluations"
        return evaluation_out(row)


async def _recorder(
    sessions: SessionsDep, blobs: BlobsDep, caller: Caller, now: Now, response: Response
) -> Recorder:
    return Recorder(sessions, blobs, caller, now, response)


RecorderDep = Annotated[Recorder, Depends(_recorder)]
