"""What an address of the pages may ask for; anything else is a page that does not exist."""

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
DigestAsked = Annotated[str | None, Query(pattern=DIGEST_PATTERN)]
Searched = Annotated[str, Query(max_length=256), AfterValidator(printable)]


BREAK_GLASS: Final = "break glass"


def require_typed(words: str, typed: str, why: str) -> None:
    """Raise InvalidRequestError unless `words` were typed; `why` ends the sentence that asks."""
    if typed.strip() != words:
        raise missing("confirmation", f"Type `{words}` to confirm{why}")


def missing(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, [Fault(f"{field}-missing", message)])
