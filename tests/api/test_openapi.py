"""The contract: the completeness of the OpenAPI document, and the committed snapshot."""

import asyncio
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from app.api import openapi
from app.http.problems import MEDIA_TYPE
from app.main import app_of, create_app
from app.settings import settings_from_environment
from tests.api.openapi_snapshot import SNAPSHOT, document, rendered
from tests.support.builders import code
from tests.support.session.in_process import InProcessClient


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


def test_the_contract_is_rendered_once_and_never_on_the_event_loop(parts, monkeypatch):
    """Rendering takes 170 ms: on the loop, every other request of the process would wait."""
    expected = document()
    rendered_by, render = [], openapi._document

    def noted(app):
        rendered_by.append(threading.current_thread())
        return render(app)

    monkeypatch.setattr(openapi, "_document", noted)

    async def burst():
        transport = httpx2.ASGITransport(app_of(parts))
        async with httpx2.AsyncClient(transport=transport, base_url="http://registry") as client:
            responses = await asyncio.gather(*(client.get("/openapi.json") for _ in range(50)))
            again = await client.get("/openapi.json")
        return {(each.status_code, each.content) for each in (*responses, again)}

    with ThreadPoolExecutor(max_workers=1) as loop:
        found = loop.submit(asyncio.run, burst()).result()
        loop_thread = loop.submit(threading.current_thread).result()
    ((status, content),) = found
    assert (status, json.loads(content)) == (200, expected)
    assert len(rendered_by) == 1
    assert loop_thread not in rendered_by


def test_an_unchanged_contract_is_not_sent_again(client):
    response = client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "private, no-cache"

    again = client.get("/openapi.json", headers={"If-None-Match": response.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
    other = client.get("/openapi.json", headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, response.content)


def test_no_other_description_is_served(client):
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert client.get(path, follow_redirects=False).status_code == 404, path


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_page_and_contract_can_be_turned_off(stores, monkeypatch, path):
    for name, value in (stores.environment | {"REGISTRY_API_DOCS": "false"}).items():
        monkeypatch.setenv(name, value)
    without = InProcessClient(create_app(settings_from_environment()))
    assert (without.get(path).status_code, code(without.get(path))) == (404, "not-found")

    monkeypatch.delenv("REGISTRY_API_DOCS")
    assert InProcessClient(create_app(settings_from_environment())).get(path).status_code == 200


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
