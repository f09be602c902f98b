"""Texts that people write, in JSON or in a form: how long they may be, and of which characters."""

from typing import Annotated

from pydantic import AfterValidator, Field


def printable(text: str) -> str:
    """Return the text if it holds no control characters but line ends and tabs."""
    if any(ord(character) < ord(" ") and character not in "\n\t" for character in text):
        raise ValueError("control characters are not allowed")
    return text


Line = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(printable)]
Text = Annotated[str, Field(max_length=8192), AfterValidator(printable)]
Reason = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(printable)]
