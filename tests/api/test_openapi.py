"""The contract: the completeness of the OpenAPI document, and the committed snapshot."""

import re

import pytest

from app.http.problems import MEDIA_TYPE
from tests.api.openapi_snapshot import SNAPSHOT, document, rendered

DOCUMENT = document()
OPERATIONS = [
    pytest.param(operation, id=f"{method.upper()} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
GUARDED = [each for each in OPERATIONS if "/v1/" in each.id]


def references(node):
    """Yield every `$ref` below a node of the document."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_the_contract_is_the_committed_one():
    """`python -m tests.api.openapi_snapshot` updates it; read the difference first."""
    assert SNAPSHOT.read_text() == rendered()


def test_the_server_returns_the_contract(client):
    for _ in range(2):
        assert client.get("/openapi.json").json() == DOCUMENT


def test_the_contract_has_a_page_for_people(client):
    response = client.get("/docs")
    assert response.status_code == 200
    assert "Prefix registry" in response.text


def test_every_reference_has_a_schema():
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) <= known


def test_every_schema_is_referenced():
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    multipart = {"#/components/schemas/VersionIn"}  # its part is JSON within a form
    assert known - multipart <= set(references(DOCUMENT))


def test_operation_ids_are_unique():
    names = [each.values[0]["operationId"] for each in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_a_summary(operation):
    assert operation["summary"]


@pytest.mark.parametrize("operation", GUARDED)
def test_every_operation_has_a_tag_and_takes_a_token(operation):
    assert operation["tags"]
    assert operation["security"] == [{"HTTPBearer": []}]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_refusal_is_a_problem_document(operation):
    refusals = {
        status: response
        for status, response in operation["responses"].items()
        if (status >= "400" and status != "503") or MEDIA_TYPE in response.get("content", {})
    }
    for response in refusals.values():
        assert response["content"] == {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}
        }


@pytest.mark.parametrize("operation", GUARDED)
def test_every_operation_documents_its_refusals(operation):
    assert {"400", "401", "422", "503"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        if status >= "400":
            assert re.search(r"`[a-z-]+`: ", response["description"])
