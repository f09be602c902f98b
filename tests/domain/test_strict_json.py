"""JSON that parsers could read differently is refused, with the reason."""

import pytest

from app.domain.strict_json import (
    JsonProblem,
    NotStrictJsonError,
    read_object,
    read_tool_object,
    read_value,
)

REPEATED = [
    pytest.param(b'{"a": 1, "a": 1}', "a", id="equal-values"),
    pytest.param(b'{"a": 1, "\\u0061": 2}', "a", id="escaped"),
    pytest.param(b'{"b": {"a": 1, "a": 2}}', "a", id="nested"),
    pytest.param(b'{"b": [{"a": 1}, {"a": 1, "a": 2}]}', "a", id="in-a-list"),
    pytest.param(b'{"\\u00e9": 1, "e\\u0301": 2}', "\\u00e9", id="composed-and-decomposed"),
    pytest.param(b'{"K": 1, "\\u212a": 2}', "K", id="kelvin-sign"),
]


@pytest.mark.parametrize(("text", "key"), REPEATED)
@pytest.mark.parametrize("read", [read_object, read_value, read_tool_object])
def test_a_repeated_key_is_refused_however_it_is_written(read, text, key):
    with pytest.raises(NotStrictJsonError) as refused:
        read(text)
    assert str(refused.value) == f'the key "{key}" is given more than once'


def test_keys_that_only_look_alike_are_different():
    assert read_object('{"K": 1, "\u041a": 2, "k": 3}'.encode()) == {"K": 1, "\u041a": 2, "k": 3}


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0"])
@pytest.mark.parametrize("around", [b"%s", b"[%s]", b'{"a": %s}'])
def test_a_number_without_one_meaning_is_refused(text, around):
    with pytest.raises(NotStrictJsonError):
        read_value(around % text)


@pytest.mark.parametrize(("text", "value"), [(b"[1]", [1]), (b'"a"', "a"), (b"null", None)])
def test_a_value_need_not_be_an_object(text, value):
    assert read_value(text) == value
    with pytest.raises(NotStrictJsonError, match="not an object"):
        read_object(text)


DEEPEST = 16


def nested(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_sixteen_levels_are_read():
    assert list(read_object(nested(DEEPEST))) == ["a"]


def test_one_level_more_is_refused():
    with pytest.raises(NotStrictJsonError, match=f"{DEEPEST}") as refused:
        read_object(nested(DEEPEST + 1))
    assert refused.value.problem is JsonProblem.NESTING
