"""Types of the path and query parameters of the pages, and checks of typed form fields."""

from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator

from app.domain.errors import Fault, InvalidRequestError
from app.domain.naming import DIGEST_PATTERN, LABEL_PATTERN
from app.http.text_fields import printable

_LARGEST_NUMBER: Final = 2**31 - 1

Number = Annotated[int, Path(ge=1, le=_LARGEST_NUMBER)]
LabelPath = Annotated[str, Path(pattern=LABEL_PATTERN)]
Cursor = Annotated[str | None, Query(max_length=1024)]
DigestQuery = Annotated[str | None, Query(pattern=DIGEST_PATTERN)]
SearchText = Annotated[str, Query(max_length=256), AfterValidator(printable)]


BREAK_GLASS: Final = "break glass"


def require_typed(words: str, typed: str, why: str) -> None:
    """Raise InvalidRequestError unless `words` were typed; `why` ends the message."""
    if typed.strip() != words:
        raise missing("confirmation", f"Type `{words}` to confirm{why}")


def missing(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, [Fault(f"{field}-missing", message)])
