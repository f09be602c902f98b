"""Texts that people write, in JSON or in a form: how long they may be, and of which characters."""

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field

# Unicode's general categories and bidirectional classes.
_UNPRINTABLE: Final = {"Cc", "Cs"}
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_REORDERING: Final = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def printable(text: str) -> str:
    """Return the text if it shows as it is written; line ends and tabs are allowed."""
    if any(unicodedata.category(each) in _UNPRINTABLE and each not in "\n\t" for each in text):
        raise ValueError("control characters are not allowed")
    if any(unicodedata.bidirectional(each) in _REORDERING for each in text):
        raise ValueError("characters that reorder text are not allowed")
    return text


def _one_line(text: str) -> str:
    """Refuse what could pass for another name; changing it silently would be no better."""
    if any(unicodedata.category(each) in _INVISIBLE for each in text):
        raise ValueError("control characters, line ends and invisible characters are not allowed")
    if text != text.strip():
        raise ValueError("spaces around it are not allowed")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("must be in Unicode's normal form NFC")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must say something")
    return text


Line = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=8192), AfterValidator(printable)]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    AfterValidator(printable),
    AfterValidator(_not_blank),
]
