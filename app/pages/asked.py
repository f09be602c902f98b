"""What an address of the pages may ask for; anything else is a page that does not exist."""

from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator

from app.domain.identity import DIGEST_PATTERN, LABEL_PATTERN
from app.texts import printable

_LARGEST_NUMBER: Final = 2**31 - 1

Number = Annotated[int, Path(ge=1, le=_LARGEST_NUMBER)]
LabelPath = Annotated[str, Path(pattern=LABEL_PATTERN)]
Cursor = Annotated[str | None, Query(max_length=1024)]
DigestAsked = Annotated[str | None, Query(pattern=DIGEST_PATTERN)]
Searched = Annotated[str, Query(max_length=256), AfterValidator(printable)]
