"""Types of the path and query parameters of the pages, and checks of typed form fields."""

from collections import Counter
from typing import Annotated, Final

from fastapi import Path, Query, Request
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


async def require_single_fields(request: Request) -> None:
    """Refuse a form with a field that comes twice: parsers differ in which value they take.

    Raises:
        InvalidRequestError: The faults name the fields.
    """
    if request.method != "POST":
        return
    # FastAPI has read the form already, so this costs nothing.
    counts = Counter(name for name, _ in (await request.form()).multi_items())
    faults = [
        Fault("repeated-field", f"The field {name[:80]!r} comes {count} times; send it once.")
        for name, count in counts.items()
        if count > 1
    ]
    if faults:
        raise InvalidRequestError("The form has repeated fields; see faults.", faults)


BREAK_GLASS: Final = "break glass"


def require_typed(words: str, typed: str, why: str) -> None:
    """Raise InvalidRequestError unless `words` were typed; `why` ends the message."""
    if typed.strip() != words:
        raise missing("confirmation", f"Type `{words}` to confirm{why}")


def missing(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, [Fault(f"{field}-missing", message)])
