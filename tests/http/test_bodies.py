"""JSON bodies and parts with a repeated key or no number are refused, in every dialect."""

import errno
import json

import pytest

from app.services.artifacts import spooled_files
from tests.support.adapters import a_config
from tests.support.builders import a_base_model, a_digest, a_policy, a_suite, code, weights
from tests.support.imported import a_task, the_results, the_samples

PREFIX = "/v1/prefixes/{0.namespace}/voice"
MODEL = "/api/models/{0.namespace}/voice"

# The method, path, caller and valid document of each route that reads JSON.
WHOLE = {
    "base-model": ("POST", "/v1/base-models", "publisher", lambda _: a_base_model()),
    "control-run": (
        "POST",
        "/v1/base-models/{0.base}/evaluations",
        "evaluator",
        lambda world: world.report(world.live, digest=world.base),
    ),
    "prefix": (
        "POST",
        "/v1/prefixes",
        "publisher",
        lambda world: {"namespace": world.namespace, "name": "other", "owner": "publisher"},
    ),
    "upload": (
        "POST",
        f"{PREFIX}/uploads",
        "publisher",
        lambda _: {"sha256": a_digest(), "size_bytes": 5},
    ),
    "push": (
        "POST",
        f"{PREFIX}/versions",
        "publisher",
        lambda world: {"base_model": world.base, "config": "e30=", "weights": a_digest()},
    ),
    "suite": ("POST", "/v1/suites", "admin", lambda _: a_suite()),
    "evaluation": (
        "POST",
        f"{PREFIX}/versions/1/evaluations",
        "evaluator",
        lambda world: world.report(world.live),
    ),
    "policy": ("POST", "/v1/policies", "admin", lambda world: a_policy(world.suite)),
    "plan": (
        "POST",
        "/v1/policies/plan",
        "evaluator",
        lambda world: {"policy": a_policy(world.suite)},
    ),
    "channel": (
        "PUT",
        f"{PREFIX}/channels/staging",
        "admin",
        lambda world: {"policy": world.policy["name"], "policy_version": 1},
    ),
    "token": ("POST", "/v1/tokens", "admin", lambda _: {"principal": "reader"}),
    "grants": ("PUT", "/v1/grants", "admin", lambda _: {"principal": "reader", "grants": []}),
    "hub-repository": (
        "POST",
        "/api/repos/create",
        "publisher",
        lambda world: {"name": "other", "organization": world.namespace},
    ),
    "hub-preupload": ("POST", f"{MODEL}/preupload/main", "publisher", lambda _: {"files": []}),
    "hub-large-files": (
        "POST",
        "/{0.namespace}/voice.git/info/lfs/objects/batch",
        "publisher",
        lambda _: {"operation": "upload", "objects": []},
    ),
}


@pytest.fixture
def furnished(world):
    world.live = world.a_version()
    world.policy = world.a_policy()
    return world


def repeated(document):
    """Return the document's text with its first member twice, the second time escaped."""
    text = json.dumps(document)
    name, value = next(iter(document.items()))
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
    return f'{text[:-1]}, "{escaped}": {json.dumps(value)}}}'


def without_number(document):
    return f'{json.dumps(document)[:-1]}, "more": NaN}}'


SPOILT = ((repeated, "is given more than once"), (without_number, "NaN is not a JSON number"))


@pytest.mark.parametrize("route", WHOLE)
def test_a_body_with_a_repeated_key_or_no_number_is_refused(furnished, route):
    method, path, by, document = WHOLE[route]
    for spoil, sentence in SPOILT[: 1 if document in ANY_NUMBER else 2]:
        response = furnished.call(
            method,
            path.format(furnished),
            by=by,
            content=spoil(document(furnished)),
            headers={"Content-Type": "application/json"},
        )
        assert response.status_code == 400
        # Hugging Face clients get their own form.
        problem = response.json()
        assert sentence in problem["error" if route.startswith("hub-") else "detail"]


def native(world):
    row = {"id": "q", "persona": "novice", "locale": "en", "scores": {"tone": 1}}
    return "evaluation", world.report(world.live, results=[]), [("samples", json.dumps(row))]


def pushed(world):
    files = [("config", a_config()), ("weights", weights(8))]
    return "version", {"base_model": world.base, "card": {}, "lineage": {}}, files


def lm_eval(world):
    claim = {"suite": world.suite, "suite_version": "1", "digest": world.live["digest"]}
    files = [("results", the_results("full").read_bytes())]
    files += [("samples", the_samples("full", "voice_novice").read_bytes())]
    return "evaluation", claim | {"map": [a_task()]}, files


def inspect(world):
    claim = {"suite": world.suite, "suite_version": "1", "digest": world.live["digest"]}
    mapped = {"persona": {"value": "novice"}, "locale": {"value": "en"}, "metrics": {"a": "tone"}}
    return "evaluation", claim | mapped, [("log", b"{}")]


# NaN in an evaluation is refused as a value out of range, with its place.
ANY_NUMBER = (native, WHOLE["evaluation"][3], WHOLE["control-run"][3])


@pytest.mark.parametrize(
    ("request_of", "path", "by"),
    [
        (pushed, "versions", "publisher"),
        (native, "versions/1/evaluations", "evaluator"),
        (lm_eval, "versions/1/evaluations/lm-eval", "evaluator"),
        (inspect, "versions/1/evaluations/inspect", "evaluator"),
    ],
    ids=["push", "evaluation", "lm-eval", "inspect"],
)
def test_a_part_with_a_repeated_key_or_no_number_is_refused(furnished, request_of, path, by):
    name, document, files = request_of(furnished)
    for spoil, sentence in SPOILT[: 1 if request_of in ANY_NUMBER else 2]:
        parts = [(name, spoil(document)), *files]
        response = furnished.call(
            "POST",
            f"{furnished.path}/{path}",
            by=by,
            files=[(each, (each, content)) for each, content in parts],
        )
        assert (response.status_code, code(response)) == (400, "malformed-request"), response.text
        assert response.json()["detail"].startswith(f"The part {name} cannot be read: ")
        assert sentence in response.json()["detail"]


def test_a_configuration_with_a_repeated_key_is_refused(furnished):
    config = repeated(json.loads(a_config())).encode()
    described = json.dumps({"base_model": furnished.base, "card": {}, "lineage": {}})
    parts = {"version": described, "config": config, "weights": weights(8)}
    response = furnished.call(
        "POST",
        f"{furnished.path}/versions",
        by="publisher",
        files={name: (name, content) for name, content in parts.items()},
    )
    assert (response.status_code, code(response)) == (422, "invalid-artifact")
    assert "config-duplicate-key" in {fault["code"] for fault in response.json()["faults"]}


class FullFile:
    """A temporary file on a disk without room."""

    def __init__(self, *_, **__):
        self.code = errno.ENOSPC

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing was written, so nothing is left."""

    def write(self, _data):
        raise OSError(self.code, "No space left on device")


class BrokenFile(FullFile):
    def __init__(self, *_, **__):
        self.code = errno.EIO


def spool_on(monkeypatch, kind):
    monkeypatch.setattr(spooled_files, "SpooledTemporaryFile", kind)
    monkeypatch.setattr("app.services.artifacts.uploads.TemporaryFile", kind)


@pytest.fixture
def requests(world):
    """Return requests whose bodies are spooled, by dialect."""
    version = world.a_version()
    samples = ("samples", b"{}")
    report = ("evaluation", json.dumps(world.report(version)))
    evaluations = f"{world.path}/versions/1/evaluations"
    line = json.dumps({"key": "file", "value": {"path": "a", "content": "YQ=="}}).encode()
    return {
        "push": lambda: world.push(seed=2),
        "evaluation": lambda: world.call(
            "POST", evaluations, by="evaluator", files={"evaluation": report, "samples": samples}
        ),
        "hub": lambda: world.call(
            "POST", f"/api/models/{world.prefix}/commit/main", by="publisher", content=line
        ),
    }


@pytest.mark.parametrize("dialect", ["push", "evaluation", "hub"])
def test_a_full_disk_is_a_refusal_that_can_be_retried(world, requests, monkeypatch, dialect):
    before = world.actions()
    spool_on(monkeypatch, FullFile)
    response = requests[dialect]()
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/unavailable"
    assert world.actions() == before


def test_a_broken_disk_is_a_failure(requests, monkeypatch):
    spool_on(monkeypatch, BrokenFile)
    response = requests["push"]()
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
