"""JSON from untrusted sources: one meaning for every parser, or an error that says why."""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Never

DEPTH_LIMIT: Final = 16
_INTEGER_DIGITS: Final = 20  # 2**64 has 20 digits; Python refuses to read more than 4,300
_SHOWN_CHARACTERS: Final = 80

# A string is one token, so that a bracket inside it does not count as nesting. The quantifier is
# possessive: without it an unterminated string would be scanned again from each of its quotes.
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class JsonProblem(StrEnum):
    """Why a document was refused; callers prefix it with the kind of their file."""

    ENCODING = "encoding"
    SYNTAX = "json"
    NESTING = "nesting"
    DUPLICATE_KEY = "duplicate-key"
    NUMBER = "number"
    NOT_AN_OBJECT = "not-an-object"


class NotStrictJsonError(ValueError):
    """A document that parsers could read differently, or that would exhaust one of them."""

    def __init__(self, problem: JsonProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


def read_object(
    data: bytes, *, depth_limit: int = DEPTH_LIMIT, finite: bool = True
) -> dict[str, object]:
    """Return the JSON object in `data`, the size of which the caller has bounded.

    Raises:
        NotStrictJsonError: As for `read_value`, or the value is not an object.
    """
    value = read_value(data, depth_limit=depth_limit, finite=finite)
    if not isinstance(value, dict):
        raise NotStrictJsonError(JsonProblem.NOT_AN_OBJECT, "it is JSON, but not an object")
    return value


def read_value(data: bytes, *, depth_limit: int = DEPTH_LIMIT, finite: bool = True) -> object:
    """Return the JSON value in `data`, the size of which the caller has bounded.

    Unless numbers must be `finite`, NaN and infinities are left to the caller to refuse.

    Raises:
        NotStrictJsonError: The bytes are not UTF-8 without a byte order mark, not JSON, or
            contain a lone surrogate, a repeated key, a number that is not finite or not portable,
            or nesting deeper than `depth_limit`.
    """
    text = _decoded(data)
    _require_shallow(text, depth_limit)
    value = _parsed(text, finite=finite)
    _require_encodable(value)
    return value


def read_tool_object(data: bytes) -> dict[str, object]:
    """Return the JSON object that an evaluation tool wrote; NaN stands for a missing number.

    The depth is limited only by the parser, and strings may hold any text that a model produces.

    Raises:
        NotStrictJsonError: The bytes are not UTF-8, not JSON (apart from NaN and Infinity), not
            an object, nested too deep for the parser, or contain a repeated key or a number that
            is too long.
    """
    text = _decoded(data)
    try:
        value = _TOOLS.decode(text)
    except json.JSONDecodeError as error:
        raise _syntax(error) from error
    except NotStrictJsonError:
        raise
    except RecursionError as error:
        raise NotStrictJsonError(JsonProblem.NESTING, "it is nested too deep to read") from error
    except ValueError as error:
        raise NotStrictJsonError(JsonProblem.NUMBER, "a number in it is too long") from error
    if not isinstance(value, dict):
        raise NotStrictJsonError(JsonProblem.NOT_AN_OBJECT, "it is JSON, but not an object")
    return value


def quoted(text: str) -> str:
    """Return untrusted text in a form that is safe in messages: quoted, plain ASCII and short."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return json.dumps(cut)


def _decoded(data: bytes) -> str:
    # json.loads(bytes) also detects UTF-16 and UTF-32, which other parsers do not.
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
    """Check the depth before parsing: the parser's own limit depends on the current stack."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth > depth_limit:
            raise NotStrictJsonError(
                JsonProblem.NESTING, f"it is nested deeper than {depth_limit} levels"
            )


def _parsed(text: str, *, finite: bool) -> object:
    try:
        return json.loads(
            text,
            object_pairs_hook=unique,
            parse_constant=refused_constant if finite else float,
            parse_int=_integer,
            parse_float=_finite if finite else float,
        )
    except json.JSONDecodeError as error:
        raise _syntax(error) from error


def _syntax(error: json.JSONDecodeError) -> NotStrictJsonError:
    place = f"at line {error.lineno}, column {error.colno}"
    return NotStrictJsonError(JsonProblem.SYNTAX, f"{error.msg} {place}")


def unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return an object's members, as an `object_pairs_hook`; cheap if no key is repeated.

    Raises:
        NotStrictJsonError: A key is repeated, perhaps in another Unicode normal form, and parsers
            differ in which value they take.
    """
    result = dict(pairs)
    if len(result) < len(pairs) or not all(map(str.isascii, result)):
        keys = Counter(unicodedata.normalize("NFC", key) for key, _ in pairs)
        (key, count), *_ = keys.most_common(1)
        if count > 1:
            raise NotStrictJsonError(
                JsonProblem.DUPLICATE_KEY, f"the key {quoted(key)} is given more than once"
            )
    return result


_TOOLS: Final = json.JSONDecoder(object_pairs_hook=unique)


def refused_constant(name: str) -> Never:
    """Refuse NaN and the infinities, as a `parse_constant`."""
    raise NotStrictJsonError(JsonProblem.NUMBER, f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    # Python reads "-0" as the integer 0; other parsers, such as safetensors', as the float -0.0.
    if len(digits.lstrip("-")) > _INTEGER_DIGITS or digits == "-0":
        raise NotStrictJsonError(
            JsonProblem.NUMBER, f"parsers read the number {quoted(digits)} differently"
        )
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotStrictJsonError(JsonProblem.NUMBER, f"the number {quoted(digits)} is too large")
    return number


def _require_encodable(value: object) -> None:
    # Encoding the value finds a lone surrogate in any of its keys and strings.
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NotStrictJsonError(
            JsonProblem.ENCODING, "a string contains half of a surrogate pair"
        ) from error
