"""A small client of the registry: one call, and what its answer must be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

Document = dict[str, Any]

_SHOWN: Final = 1000  # characters of an unexpected answer


class DemoFailedError(Exception):
    """An act did not end as it must; the message is a sentence for the reader."""


def expect(message: str, *, that: bool) -> None:
    """Fail with `message` unless `that` holds. `python -O` would skip an assert."""
    if not that:
        raise DemoFailedError(message)


@dataclass(frozen=True, slots=True)
class Store:
    """The object store behind the registry, with the key to it."""

    endpoint_url: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry; `tokens` are those of its first principals, by name."""

    http: httpx2.Client
    tokens: Mapping[str, str] = field(repr=False)
    store: Store

    def call(
        self,
        method: str,
        path: str,
        *,
        by: str,
        json: object = None,
        query: Mapping[str, str] | None = None,
        yaml: bytes | None = None,
        parts: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> httpx2.Response:
        """Send one request as the principal `by`; `parts` are (file name, content)."""
        headers = {"Authorization": f"Bearer {self.tokens[by]}"}
        if yaml is not None:
            headers["Content-Type"] = "application/yaml"
        return self.http.request(
            method, path, headers=headers, json=json, params=query, content=yaml, files=parts
        )


def accepted(response: httpx2.Response) -> Document:
    """Return the document of an answer that must be a success."""
    document: Document = _succeeded(response).json()
    return document


def content(response: httpx2.Response) -> bytes:
    """Return the bytes of an answer that must be a success."""
    return _succeeded(response).content


def refused(response: httpx2.Response, status: int, code: str) -> Document:
    """Return the problem document of an answer that must be this refusal."""
    message = _deviation(response, f"the refusal {status} {code}")
    expect(message, that=response.status_code == status)
    problem: Document = response.json()
    expect(message, that=problem.get("type") == f"/problems/{code}")
    return problem


def _succeeded(response: httpx2.Response) -> httpx2.Response:
    expect(_deviation(response, "a success"), that=response.is_success)
    return response


def _deviation(response: httpx2.Response, wanted: str) -> str:
    request, kind = response.request, response.headers.get("content-type", "no content type")
    got = response.text if "json" in kind else f"{len(response.content)} bytes of {kind}"
    return (
        f"{request.method} {request.url.path} was to be {wanted}, and was "
        f"{response.status_code}: {got[:_SHOWN]}"
    )
