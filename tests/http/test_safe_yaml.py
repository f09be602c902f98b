"""YAML: JSON's data model, and nothing that a reader could overlook."""

import pytest

from app.domain.errors import MalformedRequestError
from app.http.safe_yaml import yaml_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: 1\nb: [true, null, 1.5, no]", {"a": 1, "b": [True, None, 1.5, "no"]}),
        pytest.param("a: {b: 1}\nc: {b: 2}", {"a": {"b": 1}, "c": {"b": 2}}),
        pytest.param("- {a: 1}\n- {a: 2}", [{"a": 1}, {"a": 2}]),
        pytest.param("'1': 2026-03-01", {"1": "2026-03-01"}),
        pytest.param("a: '&b *c !d <<'", {"a": "&b *c !d <<"}),
        pytest.param("a: &x [1]\nb: *x\nc: *x", {"a": [1], "b": [1], "c": [1]}),
        pytest.param("{K: 1, \u041a: 2, k: 3}", {"K": 1, "\u041a": 2, "k": 3}),
    ],
)
def test_plain_yaml_is_read(text, value):
    assert yaml_value(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            "name: a\napprovals:\n  required: 2\n  human: true\n  required: 0\n",
            'Line 5, column 3, repeats the key "required" of line 3, column 3, keep one of them',
            id="block",
        ),
        pytest.param("{a: 1, b: 2, a: 1}", 'Line 1, column 14, repeats the key "a" of', id="flow"),
        pytest.param('a: 1\n"a": 2', "Line 2, column 1, repeats", id="quoted"),
        pytest.param('a: 1\n"\\x61": 2', "Line 2, column 1, repeats", id="escaped"),
        pytest.param("a: 1\n? a\n: 2", "Line 2, column 3, repeats", id="explicit"),
        pytest.param("a: 1\n? |-\n  a\n: 2", "repeats the key", id="block-scalar"),
        pytest.param("- - {a: 1, a: 2}", "repeats the key", id="nested-in-lists"),
        pytest.param("\u00e9: 1\ne\u0301: 2", "Line 2, column 1, repeats", id="normal-forms"),
        pytest.param("K: 1\n\u212a: 2", "Line 2, column 1, repeats", id="kelvin-sign"),
        pytest.param("b:\n- {x: 1, y: 2, y: 3}", "Line 2, column 16, repeats", id="in-a-list"),
        pytest.param("&x a: 1\nb: *x", "Line 1, column 1, has an anchor or alias", id="key"),
        pytest.param("a: &x b\n*x : 1", "has an anchor or alias on a key", id="alias-as-key"),
        pytest.param("a: &x b\nb: 1\n*x : 2", "has an anchor or alias on a key", id="repeats"),
        pytest.param("a: &x [1]\nb: &y [*x]\nc: *y", "Line 3, column 4, repeats", id="nested"),
        pytest.param("&x [*x]", "Line 1, column 5, repeats a value with an alias", id="itself"),
        pytest.param("&x {a: [*x]}", "repeats a value with an alias", id="itself-below"),
        pytest.param("c: *x", "not valid YAML at line 1", id="unknown-alias"),
        pytest.param("a: &x 1\nb: &x 2\nc: *x", "not valid YAML", id="anchor-moved"),
        pytest.param("a: &x {b: 1}\nc: {<<: *x}", "has a merge key", id="merge-alias"),
        pytest.param("a: {<<: {b: 1}}", "Line 1, column 5, has a merge key", id="merge"),
        pytest.param("'<<': {b: 1}", "has a merge key", id="merge-quoted"),
        pytest.param("a: !!str 1", "Line 1, column 4, has a tag", id="tag"),
        pytest.param("a: ! 1", "has a tag", id="tag-of-nothing"),
        pytest.param("a: !!binary YQ==", "has a tag", id="binary"),
        pytest.param("!!omap [a: 1, a: 2]", "has a tag", id="ordered-map"),
        pytest.param("!!pairs [a: 1, a: 2]", "has a tag", id="pairs"),
        pytest.param("%TAG ! tag:yaml.org,2002:\n---\n!set {a}", "has a tag", id="declared-tag"),
        pytest.param("1: a", "has a key that is no text", id="number-as-key"),
        pytest.param("null: a\n~: b", "has a key that is no text", id="null-as-key"),
        pytest.param("true: a", "has a key that is no text", id="boolean-as-key"),
        pytest.param("? [a]\n: b", "has a key that is no text", id="list-as-key"),
        pytest.param("a: 1e999", "Line 1, column 4, has a number that is too large", id="endless"),
        pytest.param("a: " + "[" * 70 + "]" * 70, "nested deeper than 64 levels", id="deep"),
        pytest.param("a: [1\nb: 2", "not valid YAML at line 2", id="syntax"),
        pytest.param("a: 1\n---\na: 2", "not valid YAML at line 2", id="two-documents"),
    ],
)
def test_what_a_reader_could_overlook_is_refused_with_its_place(text, sentence):
    with pytest.raises(MalformedRequestError) as refused:
        yaml_value(text.encode())
    assert sentence in refused.value.detail


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("".join(f"k{number}: 1\n" for number in range(20_000)), 5000, id="keys"),
        pytest.param("- 1\n" * 20_000, 10_000, id="values"),
        pytest.param("- &a 1\n" + "- *a\n" * 20_000, 10_000, id="aliases"),
    ],
)
def test_a_document_of_many_nodes_is_read_only_to_the_limit(text, line):
    with pytest.raises(MalformedRequestError) as refused:
        yaml_value(text.encode())
    assert f"Line {line}, " in refused.value.detail
    assert "more than 10000 keys and values" in refused.value.detail


def test_a_document_of_as_many_nodes_as_allowed_is_read():
    assert len(yaml_value(b"- 1\n" * 9_999)) == 9_999


def test_only_utf_8_is_read():
    for encoding in ("utf-16", "utf-32", "latin-1"):
        with pytest.raises(MalformedRequestError):
            yaml_value("a: \u00e9".encode(encoding))
