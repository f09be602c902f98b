"""JSON from strangers: one meaning for every reader, or a refusal that says why."""

import json
import math
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Never

DEPTH_LIMIT: Final = 16
_INTEGER_DIGITS: Final = 20  # 2**64 has 20 digits; Python refuses to read more than 4,300
_SHOWN_CHARACTERS: Final = 80

# A string is one token, so that a bracket inside it does not count as nesting. The quantifier is
# possessive: without it an unterminated string would be scanned again from each of its quotes.
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class JsonProblem(StrEnum):
    """Why a document was refused; callers put the name of their file before it."""

    ENCODING = "encoding"
    SYNTAX = "json"
    NESTING = "nesting"
    DUPLICATE_KEY = "duplicate-key"
    NUMBER = "number"
    NOT_AN_OBJECT = "not-an-object"


class NotStrictJsonError(ValueError):
    """A document that readers could disagree about, or that would exhaust one of them."""

    def __init__(self, problem: JsonProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


def read_object(data: bytes, *, depth_limit: int = DEPTH_LIMIT) -> dict[str, object]:
    """Return the JSON object in `data`, which the caller has bounded in size.

    Raises:
        NotStrictJsonError: The bytes are not UTF-8 without a byte order mark, not JSON, not an
            object, or hold a lone surrogate, a repeated key, a number that is not finite or not
            representable, or nesting deeper than `depth_limit`.
    """
    text = _decoded(data)
    _require_shallow(text, depth_limit)
    value = _parsed(text)
    if not isinstance(value, dict):
        raise NotStrictJsonError(JsonProblem.NOT_AN_OBJECT, "it is JSON, but not an object")
    _require_encodable(value)
    return value


def shown(text: str) -> str:
    """Return a stranger's text as a message may carry it: quoted, plain ASCII and short."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return json.dumps(cut)


def _decoded(data: bytes) -> str:
    # json.loads(bytes) would guess UTF-16 and UTF-32, which other readers do not.
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrictJsonError(
            JsonProblem.ENCODING, f"byte {error.start} is not UTF-8"
        ) from error
    if text.startswith("\ufeff"):
        raise NotStrictJsonError(JsonProblem.ENCODING, "it starts with a byte order mark")
    return text


def _require_shallow(text: str, depth_limit: int) -> None:
    """Count before parsing: how deep the parser can go depends on the stack it is called on."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth > depth_limit:
            raise NotStrictJsonError(
                JsonProblem.NESTING, f"it is nested deeper than {depth_limit} levels"
            )


def _parsed(text: str) -> object:
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise NotStrictJsonError(
            JsonProblem.SYNTAX, f"{error.msg} at line {error.lineno}, column {error.colno}"
        ) from error


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise NotStrictJsonError(
                JsonProblem.DUPLICATE_KEY, f"the key {shown(key)} is given more than once"
            )
        result[key] = value
    return result


def _refuse_constant(name: str) -> Never:
    raise NotStrictJsonError(JsonProblem.NUMBER, f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    # "-0" is the integer 0 to Python and the fraction -0.0 to others, safetensors among them.
    if len(digits.lstrip("-")) > _INTEGER_DIGITS or digits == "-0":
        raise NotStrictJsonError(
            JsonProblem.NUMBER, f"the number {shown(digits)} does not have one meaning everywhere"
        )
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotStrictJsonError(JsonProblem.NUMBER, f"the number {shown(digits)} is too large")
    return number


def _require_encodable(value: object) -> None:
    # Writing the value once more finds a lone surrogate in any key or string of it.
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NotStrictJsonError(
            JsonProblem.ENCODING, "a string holds half of a surrogate pair"
        ) from error
