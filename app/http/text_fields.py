"""Text fields of JSON bodies and forms: their lengths and allowed characters."""

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field

# Unicode's general categories and bidirectional classes.
_UNPRINTABLE: Final = {"Cc", "Cs"}
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_REORDERING: Final = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def printable(text: str) -> str:
    """Return the text, or refuse control and reordering characters except line ends and tabs."""
    if any(unicodedata.category(char) in _UNPRINTABLE and char not in "\n\t" for char in text):
        raise ValueError("control characters are not allowed")
    if any(unicodedata.bidirectional(char) in _REORDERING for char in text):
        raise ValueError("characters that reorder text are not allowed")
    return text


def _one_line(text: str) -> str:
    """Refuse text that could look like another name, rather than normalise it silently."""
    if any(unicodedata.category(char) in _INVISIBLE for char in text):
        raise ValueError("control characters, line ends and invisible characters are not allowed")
    if text != text.strip():
        raise ValueError("leading and trailing spaces are not allowed")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("must be in Unicode normal form NFC")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Line = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=8192), AfterValidator(printable)]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    AfterValidator(printable),
    AfterValidator(_not_blank),
]
