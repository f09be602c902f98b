"""Texts, times and nesting that no column or response can hold: refusals instead of failures."""

import json

import pytest

from tests.support.builders import code


@pytest.mark.parametrize(
    ("path", "query"),
    [
        pytest.param("/v1/prefixes", {"namespace": "a\x00b"}, id="namespace"),
        pytest.param("/v1/prefixes", {"q": "a\x00b"}, id="part-of-a-name"),
        pytest.param("/v1/suites/a%00b/1", {}, id="suite"),
        pytest.param("/v1/suites/a/1%00", {}, id="suite-version"),
        pytest.param("/v1/policies/a%00b/1", {}, id="policy"),
        pytest.param(
            "{path}/channels/production/history",
            {"at": "0001-01-01T00:00:00+01:00"},
            id="before-all-time",
        ),
        pytest.param(
            "{path}/channels/production/history",
            {"at": "9999-12-31T23:59:59-01:00"},
            id="after-all-time",
        ),
        pytest.param("/v1/audit", {"subject": "prefix:a\x00/b"}, id="subject"),
    ],
)
def test_a_value_that_no_column_can_hold_is_refused_or_not_found(world, path, query):
    by = "auditor" if "audit" in path else "publisher"
    response = world.call("GET", path.format(path=world.path), by=by, params=query)
    assert response.status_code in {404, 422}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"\\ud800": 1}', id="in-a-key"),
        pytest.param('{"name": "\\ud800"}', id="in-a-value"),
        pytest.param('{"metrics": [{"\\udfff": {}}]}', id="deep-in-a-key"),
        pytest.param('"\\ud800"', id="alone"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/suites", "/v1/policies"])
def test_half_a_surrogate_pair_is_refused(world, path, body):
    headers = {"Content-Type": "application/json"}
    response = world.call("POST", path, by="admin", content=body, headers=headers)
    assert response.status_code in {400, 422}, response.text


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"started_at": "0001-01-01T00:00:00+01:00"}, "started_at", id="year-1"),
        pytest.param({"finished_at": "9999-12-31T23:59:59-01:00"}, "finished_at", id="year-9999"),
        pytest.param({"settings": {"a": "\x00"}}, "settings", id="nul"),
        pytest.param({"settings": {"a": 2**64}}, "settings", id="integer"),
        pytest.param({"harness": {"name": "a\x00", "version": "1"}}, "harness", id="control"),
    ],
)
def test_a_field_that_no_column_can_hold_is_named(world, change, path):
    world.a_suite()
    response = world.evaluate(world.a_version(), **change)
    assert (response.status_code, code(response)) == (422, "invalid-request")
    assert path in response.json()["detail"]


def test_a_document_nested_too_deeply_is_refused(world):
    world.a_suite()
    nested = json.loads('{"a":' * 500 + "1" + "}" * 500)
    response = world.evaluate(world.a_version(), settings=nested)
    assert response.status_code in {400, 422}


def test_json_of_extreme_depth_is_refused(world):
    headers = {"Content-Type": "application/json"}
    body = "[" * 50_000
    response = world.call("POST", "/v1/suites", by="admin", content=body, headers=headers)
    assert response.status_code in {400, 422}


def test_json_that_is_not_text_is_refused(world):
    headers = {"Content-Type": "application/json"}
    body = b'{"name": "\xff"}'
    response = world.call("POST", "/v1/suites", by="admin", content=body, headers=headers)
    assert response.status_code in {400, 422}
