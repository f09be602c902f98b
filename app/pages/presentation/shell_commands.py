"""Commands for a shell that pages show: API calls with every known value filled in."""

import json
import shlex
from collections.abc import Mapping
from typing import Final

from app.domain.naming import Json, PrefixName


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
    """Return JSON with a line for each field, and for each object of a list, to be edited."""
    fields = []
    for name, value in body.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n    ".join(json.dumps(item, ensure_ascii=False) for item in value)
            text = f"[\n    {items}]"
        fields.append(f"  {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(fields) + "}"


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
