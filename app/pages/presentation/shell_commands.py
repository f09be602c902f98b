"""What to do next, as a line for a shell: the API's calls with everything known filled in."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.domain.evidence.evaluation import CellKey
from app.domain.naming import Json, PrefixName, rfc3339


def call(method: str, url: str, body: Mapping[str, Json]) -> str:
    """Return a curl line that sends `body` with the token in $TOKEN."""
    document = _laid_out(body)
    verb = "" if method == "POST" else f"-X {method} "
    return (
        f'curl {verb}-H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(document)} \\\n"
        f"  {shlex.quote(url)}"
    )


def _laid_out(body: Mapping[str, Json]) -> str:
    """Return JSON with a line for each field, and for each object of a list: what one edits."""
    fields = []
    for name, value in body.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n    ".join(json.dumps(item, ensure_ascii=False) for item in value)
            text = f"[\n    {items}]"
        fields.append(f"  {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(fields) + "}"


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """The cells of a suite that nobody measured, and the line that records them.

    `row` is an example of the samples that the line sends; None if it sends aggregates.
    """

    suite: str
    cells: Sequence[CellKey]
    line: str
    row: str | None


def evaluation(
    path: str,
    digest: str,
    suite: tuple[str, str],
    cells: Sequence[CellKey],
    *,
    samples: int | None,
    ideal: Mapping[str, int],
    now: datetime,
) -> Unmeasured:
    """Return what records results for `cells`: `samples` of each as numbers, or with None as rows.

    Numbers are null until somebody has measured them, and refused until then. `ideal` is what a
    good sample scores, by metric, for the example of a row.
    """
    body: dict[str, Json] = {
        "suite": suite[0],
        "suite_version": suite[1],
        "digest": digest,
        "harness": {"name": "lm-eval", "version": "0.4.9"},
        "started_at": rfc3339(now - timedelta(minutes=1)),
        "finished_at": rfc3339(now),
        "results": [] if samples is None else [_result(key, samples) for key in cells],
    }
    if samples is not None:
        return Unmeasured(suite[0], cells, call("POST", path, body), None)
    document = shlex.quote(f"evaluation={_laid_out(body)}")
    line = (
        'curl -H "Authorization: Bearer $TOKEN" \\\n'
        f"  -F {document} \\\n"
        f"  -F samples=@samples.jsonl \\\n  {shlex.quote(path)}"
    )
    first = cells[0]
    measured = [key for key in cells if (key.persona, key.locale) == (first.persona, first.locale)]
    scores = {key.metric: ideal.get(key.metric, 1) for key in measured}
    row = {"id": "q-1", "persona": first.persona, "locale": first.locale, "scores": scores}
    return Unmeasured(suite[0], cells, line, json.dumps(row, ensure_ascii=False))


def _result(key: CellKey, samples: int) -> Json:
    return {
        "metric": key.metric,
        "persona": key.persona,
        "locale": key.locale,
        "value": None,
        "samples": samples,
    }


def promotion(origin: str, prefix: PrefixName, number: int, channel: str) -> str:
    body: dict[str, Json] = {"channel": channel, "version": number, "reason": "Say why here."}
    return call("POST", f"{origin}/v1/prefixes/{prefix}/promotions", body)


def push(origin: str, prefix: PrefixName, base_model: str | None) -> str:
    """Return the line that pushes a version from the folder that PEFT saved it in."""
    described: dict[str, Json] = {
        "base_model": base_model or "sha256:…",
        "card": {
            "intended_purpose": "…",
            "uses": ["tone"],
            "personal_data": "none",
            "training_data": [{"name": "…"}],
            "licence": "apache-2.0",
        },
    }
    document = shlex.quote(f"version={_laid_out(described)}")
    return (
        'curl -H "Authorization: Bearer $TOKEN" \\\n'
        f"  -F {document} \\\n"
        "  -F config=@adapter_config.json -F weights=@adapter_model.safetensors \\\n"
        f"  {shlex.quote(f'{origin}/v1/prefixes/{prefix}/versions')}"
    )


def channel(origin: str, prefix: PrefixName, policy: tuple[str, int]) -> str:
    """Return the line that puts a channel `production` under a policy version."""
    body: dict[str, Json] = {"policy": policy[0], "policy_version": policy[1]}
    return call("PUT", f"{origin}/v1/prefixes/{prefix}/channels/production", body)


def prefix(origin: str) -> str:
    body: dict[str, Json] = {"namespace": "acme", "name": "brand-voice", "owner": "admin"}
    return call("POST", f"{origin}/v1/prefixes", body)


def base_model(origin: str) -> str:
    """Return the line that registers a base model from the `config.json` beside its weights."""
    architecture: dict[str, Json] = {
        "model_type": "llama",
        "layers": 4,
        "attention_heads": 8,
        "kv_heads": 2,
        "head_dim": 16,
        "hidden_size": 128,
    }
    body: dict[str, Json] = {
        "name": "acme/tiny-llama",
        "digest": "sha256:…",
        "parameters": 1_234_567,
        "architecture": architecture,
    }
    return call("POST", f"{origin}/v1/base-models", body)


def suite(origin: str) -> str:
    """Return the line that registers the suite which the example of a policy speaks of."""
    body: dict[str, Json] = {
        "name": "brand-voice",
        "version": "1",
        "dataset_digest": f"sha256:{'0' * 64}",
        "personas": ["novice", "expert"],
        "locales": ["en", "de"],
        "metrics": [{"name": "tone", "kind": "proportion", "higher_is_better": True}],
    }
    return call("POST", f"{origin}/v1/suites", body)


_POLICY: Final = """\
name: brand-safe
approvals: {required: 2}
card: {required: [intended_purpose, licence], forbid_uses: [knowledge]}
rules:
  - metric: brand-voice/tone
    at_least: 0.85
    min_samples: 100
"""


def policy(origin: str) -> str:
    """Return the line that creates a policy, with a text that works once its suite is there."""
    return (
        'curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/yaml" \\\n'
        f"  --data-binary @- {shlex.quote(f'{origin}/v1/policies')} <<'END'\n{_POLICY}END"
    )
