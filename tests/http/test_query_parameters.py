"""Ambiguous or ignored input: query parameters, times, names, reasons and JSON bodies."""

import json

import pytest
from fastapi.routing import iter_route_contexts

from app.http.query_parameters import declared_parameters
from tests.support.builders import a_suite, code


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        pytest.param("chanel=staging", "unknown-parameter", id="unknown"),
        pytest.param("channel=staging&channel=production", "repeated-parameter", id="repeated"),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(world, query, fault):
    """Without the check, a mistyped channel would return the version of `production`."""
    world.a_live_version()
    response = world.call("GET", f"/v1/resolve/{world.prefix}?{query}", by="reader")
    assert (response.status_code, code(response)) == (422, "invalid-request")
    assert [each["code"] for each in response.json()["faults"]] == [fault]


def test_a_refusal_names_the_parameters_that_may_be_sent(world):
    world.a_live_version()
    path = f"/v1/resolve/{world.prefix}?chanel=staging"
    assert world.call("GET", path, by="reader").json()["faults"][0]["message"] == (
        "There is no parameter 'chanel'; send any of base_model, channel, unit, wait."
    )
    assert world.call("GET", "/v1/me?x=1", by="reader").json()["faults"][0]["message"] == (
        "There is no parameter 'x' here, nor any other."
    )


def test_the_parameters_of_every_route_are_those_of_the_openapi_document(app):
    """A parameter that only one of them lists would be refused or ignored."""
    paths = app.openapi()["paths"]
    compared = 0
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = paths.get(route.path_format, {}).get(method.lower())
            if operation is not None and route.path_format.startswith("/v1/"):
                documented = {
                    each["name"]: each["schema"].get("type") == "array"
                    for each in operation.get("parameters", [])
                    if each["in"] == "query"
                }
                assert declared_parameters(route.dependant) == documented, route.path_format
                compared += 1
    assert compared > 50


def test_parameters_are_checked_only_below_v1(world):
    world.a_live_version()
    for path in ("/healthz?x=1", f"/api/models/{world.prefix}?expand=siblings&expand=sha"):
        assert world.call("GET", path, by="reader").status_code == 200


@pytest.mark.parametrize("at", ["0.5", "1700000000", "2026-01-31", "2026-01-31T12:00:00"])
def test_a_time_is_a_date_with_an_hour_and_an_offset(world, at):
    world.a_version()
    world.a_channel()
    path = f"{world.path}/channels/production/history"
    response = world.call("GET", path, by="publisher", params={"at": at})
    assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a\u202eb", id="right-to-left-override"),
        pytest.param("a\u200bb", id="zero-width-space"),
        pytest.param("a\u2028b", id="line-separator"),
        pytest.param("a\nb", id="line-end"),
        pytest.param("cafe\u0301", id="not-nfc"),
        pytest.param(" a", id="space-before"),
        pytest.param("\u00a0", id="blank"),
    ],
)
def test_a_name_that_looks_like_another_is_refused(world, name):
    world.a_suite()
    harness = {"name": name, "version": "1"}
    response = world.evaluate(world.a_version(), harness=harness)
    assert (response.status_code, code(response)) == (422, "invalid-request"), response.text
    assert "harness.name" in response.json()["detail"]


@pytest.mark.parametrize("name", ["Jos\u00e9", "\u0430dmin", "a b", "a\u202eb", "a\n"])
def test_principals_suites_and_personas_are_named_in_ascii(world, name):
    principal = {"name": name, "kind": "human"}
    for path, body in (
        ("/v1/principals", principal),
        ("/v1/suites", a_suite(name=name)),
        ("/v1/suites", a_suite(personas=[name])),
    ):
        response = world.call("POST", path, by="admin", json=body)
        assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize("reason", ["", " ", "\n\t", "\u00a0\u2003" * 20, "a\u202eb" * 10])
def test_a_reason_must_not_be_blank(world, reason):
    version = world.a_live_version()
    promotion = world.request(world.an_evaluated_version(seed=1)).json()
    evaluation = world.evaluate(version).json()
    refused = [
        world.revoke(version, reason=reason),
        world.void(evaluation, reason=reason),
        world.request(version, reason=reason),
        world.break_glass(promotion, reason=reason),
        world.review(promotion, by="approver-1", verdict="reject", comment=reason),
        world.call(
            "POST",
            f"{world.path}/channels/production/rollback",
            by="approver-1",
            json={"generation": 1, "reason": reason},
        ),
    ]
    assert {(each.status_code, code(each)) for each in refused} == {(422, "invalid-request")}


def test_json_with_two_meanings_is_refused(world):
    headers = {"Content-Type": "application/json"}
    body = '{"principal": "reader", "principal": "admin"}'
    response = world.call("POST", "/v1/tokens", by="admin", content=body, headers=headers)
    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert "principal" in response.json()["detail"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_with_another_content_type_is_not_read_as_json(world, kind):
    response = world.call(
        "POST",
        "/v1/suites",
        by="admin",
        content=json.dumps(a_suite()),
        headers={"Content-Type": kind},
    )
    assert (response.status_code, code(response)) == (415, "unsupported-media-type")


def test_a_json_body_beyond_its_limit_is_refused(world):
    body = a_suite() | {"padding": "x" * (1 << 16)}
    response = world.call("POST", "/v1/suites", by="admin", json=body)
    assert (response.status_code, code(response)) == (413, "too-large")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        pytest.param(
            "/v1/resolve/{prefix}",
            "There is no parameter 'chanel'; send any of base_model, channel, unit, wait.",
            id="some",
        ),
        pytest.param("/v1/me", "There is no parameter 'chanel' here, nor any other.", id="none"),
    ],
)
def test_the_refusal_names_the_parameters_that_may_be_sent(world, path, known):
    asked = path.format(prefix=world.prefix)
    response = world.call("GET", f"{asked}?chanel=staging", by="reader")
    assert response.json()["faults"][0]["message"] == known
