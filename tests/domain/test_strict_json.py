"""Strict JSON: the deepest nesting that is read."""

import pytest

from app.domain.strict_json import JsonProblem, NotStrictJsonError, read_object

DEEPEST = 16


def nested(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_sixteen_levels_are_read():
    assert list(read_object(nested(DEEPEST))) == ["a"]


def test_one_level_more_is_refused():
    with pytest.raises(NotStrictJsonError, match=f"{DEEPEST}") as refused:
        read_object(nested(DEEPEST + 1))
    assert refused.value.problem is JsonProblem.NESTING
