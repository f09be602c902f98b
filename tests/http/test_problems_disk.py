"""A full disk for received files: a refusal that can be retried, in every dialect."""

import errno
import json

import pytest

from app.services.artifacts import spooled_files


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
    monkeypatch.setattr("app.hub.commit.SpooledTemporaryFile", kind)
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
