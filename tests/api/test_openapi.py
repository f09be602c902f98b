"""The contract: the completeness of the OpenAPI document, and the committed snapshot."""

import re

import pytest

from app.http.problems import MEDIA_TYPE
from tests.api.openapi_snapshot import SNAPSHOT, document, rendered


@pytest.fixture
def operations():
    """Every operation of the document, by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


@pytest.fixture
def guarded(operations):
    return {name: operation for name, operation in operations.items() if "/v1/" in name}


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
        assert client.get("/openapi.json").json() == document()


def test_the_contract_has_a_page_for_people(client):
    response = client.get("/docs")
    assert response.status_code == 200
    assert "Prefix registry" in response.text


def test_every_reference_has_a_schema():
    known = {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}
    assert set(references(document())) <= known


def test_every_schema_is_referenced():
    known = {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}
    multipart = {"#/components/schemas/VersionIn"}  # its part is JSON within a form
    assert known - multipart <= set(references(document()))


def test_operation_ids_are_unique(operations):
    names = [operation["operationId"] for operation in operations.values()]
    assert len(set(names)) == len(names) > 60


def offenders(operations, holds):
    return [name for name, operation in operations.items() if not holds(operation)]


def test_every_operation_has_a_summary(operations):
    assert offenders(operations, lambda operation: operation["summary"]) == []


def test_every_operation_has_a_tag_and_takes_a_token(guarded):
    token = [{"HTTPBearer": []}]
    assert offenders(guarded, lambda each: each["tags"] and each["security"] == token) == []


def test_every_refusal_is_a_problem_document(operations):
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}

    def holds(operation):
        return all(
            response["content"] == content
            for status, response in operation["responses"].items()
            if (status >= "400" and status != "503") or MEDIA_TYPE in response.get("content", {})
        )

    assert offenders(operations, holds) == []


def test_every_operation_documents_its_refusals(guarded):
    def holds(operation):
        responses = operation["responses"]
        refusals = [response for status, response in responses.items() if status >= "400"]
        named = all(re.search(r"`[a-z-]+`: ", refusal["description"]) for refusal in refusals)
        return named and {"400", "401", "422", "503"} <= set(responses)

    assert offenders(guarded, holds) == []
