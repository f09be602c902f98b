"""The differences of a stored decision and its replay, one sentence each."""

import pytest

from app.domain.governance.replay import differences


@pytest.mark.parametrize(
    ("stored", "replayed", "expected"),
    [
        pytest.param({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, [], id="equal"),
        pytest.param({"a": 1}, {"a": 2}, ["a was 1; on replay it is 2."], id="value"),
        pytest.param({"a": 1}, {}, ["a was 1; on replay it is absent."], id="lost"),
        pytest.param({}, {"a": 1}, ["a was absent; on replay it is 1."], id="added"),
        pytest.param([1, 2], [1], ["[1] was 2; on replay it is absent."], id="shorter"),
        pytest.param({"a": [1]}, {"a": 1}, ["a was [1]; on replay it is 1."], id="no-list"),
        pytest.param({"a": 1}, {"a": [1]}, ["a was 1; on replay it is [1]."], id="a-list"),
        pytest.param({"a": "xy"}, {"a": "xz"}, ["a was xy; on replay it is xz."], id="text"),
        pytest.param({"a": {}}, {"a": []}, ["a was {}; on replay it is []."], id="kinds"),
        pytest.param({"a": 1}, {"a": {}}, ["a was 1; on replay it is {}."], id="an-object"),
    ],
)
def test_each_difference_is_one_sentence(stored, replayed, expected):
    assert list(differences(stored, replayed)) == expected


@pytest.mark.parametrize(("length", "shown"), [(80, "x" * 80), (81, f"{'x' * 77}...")])
def test_a_long_value_is_cut(length, shown):
    (sentence,) = differences("x" * length, 1)
    assert sentence == f" was {shown}; on replay it is 1."
