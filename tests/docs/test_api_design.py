"""docs/reference/api-design.md: the rules that the page marks hold for every endpoint."""

import json
import re
from pathlib import Path

from app.domain.durations import ISO_PATTERN

ROOT = Path(__file__).parents[2]
API = json.loads((ROOT / "tests" / "api" / "openapi.json").read_text())
PAGE = (ROOT / "docs" / "reference" / "api-design.md").read_text()
SCHEMAS = API["components"]["schemas"]
PROBES = {"/healthz", "/readyz", "/metrics"}
OPERATIONS = {
    (method, path): operation
    for path, methods in API["paths"].items()
    for method, operation in methods.items()
    if path not in PROBES
}
# Listed on the page as quirks.
NOT_PLURAL = {"resolve", "audit", "me", "checkpoint", "key", "verify", "export"}
ACTS = {"void", "withdraw", "revoke", "rollback", "break-glass", "reviews", "plan"}
VIEWS = {"gate", "history", "replay", "attestation", "inclusion", "consistency"}
ONLY_ONE = {"quota", "manifest"}  # of which the object above has exactly one
FORMATS = {"lm-eval", "inspect"}


def names_in(value):
    """Yield the names of the schemas that a part of the document refers to."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for each in value.values():
            yield from names_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from names_in(each)


def objects_in(part):
    """Return all objects that requests or responses consist of, by the schemas' names."""
    names = {name for each in OPERATIONS.values() for name in names_in(each.get(part, {}))}
    while more := {name for each in names for name in names_in(SCHEMAS[each])} - names:
        names |= more
    return {name: SCHEMAS[name] for name in names if SCHEMAS[name].get("type") == "object"}


REQUESTS, RESPONSES = objects_in("requestBody"), objects_in("responses")


def parameters(operation):
    return {each["name"]: each["schema"] for each in operation.get("parameters", [])}


def last_segment(path):
    return path.rpartition("/")[2]


def test_the_page_marks_as_many_rules_as_are_checked_here():
    rules = [name for name in globals() if name.startswith("test_rule_")]
    assert len(re.findall(r"^- ✓", PAGE, re.MULTILINE)) == len(rules)


def test_rule_every_address_is_below_v1():
    assert all(path.startswith("/v1/") for _, path in OPERATIONS)


def test_rule_a_collection_is_a_plural_noun_in_kebab_case():
    segments = {each for _, path in OPERATIONS for each in path.split("/")[2:] if each[0] != "{"}
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", each) for each in segments)
    singular = {each for each in segments if not each.endswith("s")}
    assert singular <= NOT_PLURAL | ACTS | VIEWS | ONLY_ONE | FORMATS


def test_rule_there_are_four_methods():
    assert {method for method, _ in OPERATIONS} == {"get", "post", "put", "delete"}


def test_rule_a_post_creates_with_201_or_acts_with_200():
    for (method, path), operation in OPERATIONS.items():
        if method == "post":
            creates = last_segment(path) not in ACTS
            assert ("201" in operation["responses"]) == creates, path


def test_rule_an_act_answers_200_with_an_object():
    for (method, path), operation in OPERATIONS.items():
        if method == "post" and last_segment(path) in ACTS:
            answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert list(names_in(answer)), path


def test_rule_delete_answers_204():
    deletes = {path: each for (method, path), each in OPERATIONS.items() if method == "delete"}
    assert deletes
    for path, operation in deletes.items():
        assert [each for each in operation["responses"] if each < "300"] == ["204"], path


def test_rule_bodies_are_json_or_multipart_in_snake_case():
    types = {
        kind
        for each in OPERATIONS.values()
        for kind in each.get("requestBody", {}).get("content", {})
    }
    assert types == {"application/json", "multipart/form-data", "application/yaml"}
    members = {
        name for each in (REQUESTS | RESPONSES).values() for name in each.get("properties", {})
    }
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in members)


def test_rule_unknown_members_are_refused():
    assert REQUESTS
    lenient = [name for name, each in REQUESTS.items() if each["additionalProperties"] is not False]
    assert lenient == []


def test_rule_a_response_has_every_member():
    optional = {
        name: missing
        for name, each in RESPONSES.items()
        if (missing := set(each.get("properties", {})) - set(each.get("required", [])))
    }
    assert optional == {}


def members():
    for objects in (REQUESTS, RESPONSES):
        for name, each in objects.items():
            for member, schema in each.get("properties", {}).items():
                yield f"{name}.{member}", json.dumps(schema)


def test_rule_times_end_in_at():
    timed = {name for name, schema in members() if '"date-time"' in schema}
    called = {name for name, _ in members() if re.search(r"\.(\w+_)?at$", name)}
    assert timed - called == {"WaitingOut.not_before"}
    assert called <= timed


def test_rule_durations_have_their_unit():
    durations = {name for name, schema in members() if '"duration"' in schema}
    called = {name.rpartition(".")[2] for name in durations}
    assert called == {"valid_for", "wait", "max_age", "expires_in"}
    for name, schema in members():
        if name in durations:
            assert json.dumps(ISO_PATTERN) in schema, name
            assert '"integer"' not in schema, name


def test_rule_a_list_is_a_page():
    pages = {name: each for name, each in RESPONSES.items() if name.startswith("PageOut")}
    assert len(pages) >= 10
    for page in pages.values():
        assert set(page["properties"]) == {"items", "next"}
    for (method, path), operation in OPERATIONS.items():
        found = parameters(operation)
        answered = list(names_in(operation["responses"].get("200", {})))
        assert ("cursor" in found) == any(each in pages for each in answered), (method, path)
        if "cursor" in found:
            limit = found["limit"]
            assert (limit["default"], limit["maximum"]) == (50, 200), path


def test_rule_every_post_takes_an_idempotency_key_and_nothing_else_does():
    for (method, path), operation in OPERATIONS.items():
        assert ("Idempotency-Key" in parameters(operation)) == (method == "post"), path


def test_rule_every_error_is_a_problem_document():
    for (method, path), operation in OPERATIONS.items():
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], (method, path)
