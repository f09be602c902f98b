"""Records measured samples, of a version or as a control run of the bare base model."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from demo.client import Document, Registry, accepted
from demo.push import PATH
from demo.samples import HARNESS, SETTINGS, Sample, jsonl


def record(registry: Registry, version: Document, samples: Sequence[Sample]) -> Document:
    """Record an evaluation of a version; return it."""
    path = f"{PATH}/versions/{version['number']}/evaluations"
    return _record(registry, path, version["digest"], samples)


def record_control_run(registry: Registry, digest: str, samples: Sequence[Sample]) -> Document:
    """Record a run of the bare base model, for rules that compare with it."""
    return _record(registry, f"/v1/base-models/{digest}/evaluations", digest, samples)


def _record(registry: Registry, path: str, digest: str, samples: Sequence[Sample]) -> Document:
    # The evaluator's clock says when it measured.
    now = datetime.now(UTC).isoformat()  # noqa: TID251 - this is a client, not the registry
    report = {
        "suite": "brand-voice",
        "suite_version": "1",
        "digest": digest,
        "harness": HARNESS,
        "started_at": now,
        "finished_at": now,
        "settings": SETTINGS,
    }
    parts = {
        "evaluation": ("evaluation", json.dumps(report).encode()),
        "samples": ("samples.jsonl", jsonl(samples)),
    }
    return accepted(registry.call("POST", path, by="evaluator", parts=parts))
