"""Differences between two documents, path by path."""

from app.pages.presentation.differences import Difference, differences


def test_documents_are_compared_path_by_path():
    before = {"a": 1, "gone": True, "list": ["x", "y"], "deep": {"b": None}}
    after = {"a": 2, "list": ["x", "y"], "deep": {"b": {}}, "rows": [{"n": 1}], "new": []}
    found = {each.path: each.kind for each in differences(before, after)}
    assert found == {
        "a": "changed",
        "list": "same",
        "deep.b": "same",
        "rows 1.n": "added",
        "new": "added",
        "gone": "removed",
    }
    assert differences(None, {"on": False}) == [Difference("on", "no", "no")]
