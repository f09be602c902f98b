"""How long a push, a pull and a resolve take, beside the object store alone, in half a minute.

`python -m benchmarks.smoke`: medians and spread of one run in which all were measured in turn.
"""

import statistics
import tempfile
from pathlib import Path

import httpx2

from benchmarks.rig import PREFIX, an_artifact, interleaved, registry
from benchmarks.transfer import Bench, store_client
from demo.client import Registry, accepted

_ROUNDS = 9
_SIZE_MB = 3


def main() -> None:
    """Measure and print a row per operation."""
    with (
        registry() as client,
        tempfile.TemporaryDirectory() as folder,
        httpx2.Client(trust_env=False) as raw,
    ):
        artifacts = [an_artifact(Path(folder), _SIZE_MB, seed) for seed in range(_ROUNDS)]
        bench = Bench(client, raw, artifacts, store_client(client))
        seconds = interleaved(_ROUNDS, {"raw PUT + SHA-256": bench.raw_put, "push": bench.push})
        _release(client)
        seconds |= interleaved(
            _ROUNDS,
            {
                "raw GET": bench.raw_get,
                "pull by stream": bench.pull_stream,
                "resolve": lambda _: _resolve(client),
            },
        )
    print(f"| {_SIZE_MB} MB | median | fastest | slowest |")
    print("| --- | --- | --- | --- |")
    for name, taken in seconds.items():
        cells = [f"{value * 1000:.1f} ms" for value in _spread(taken)]
        print(f"| {name} | {' | '.join(cells)} |")


def _spread(taken: list[float]) -> tuple[float, float, float]:
    return statistics.median(taken), min(taken), max(taken)


def _release(client: Registry) -> None:
    """Give the latest version a channel, past the gate, so that it can be resolved."""
    path = f"/v1/prefixes/{PREFIX}"
    suite = {
        "name": "smoke",
        "version": "1",
        "dataset_digest": f"sha256:{'0' * 64}",
        "personas": ["anybody"],
        "locales": ["en"],
        "metrics": [{"name": "tone", "kind": "proportion", "higher_is_better": True}],
    }
    policy = {
        "name": "smoke",
        "approvals": {"required": 0},
        "rules": [{"metric": "smoke/tone", "at_least": 0.5}],
    }
    binding = {"policy": "smoke", "policy_version": 1}
    accepted(client.call("POST", "/v1/suites", by="admin", json=suite))
    accepted(client.call("POST", "/v1/policies", by="admin", json=policy))
    accepted(client.call("PUT", f"{path}/channels/production", by="admin", json=binding))
    version = accepted(client.call("GET", f"{path}/versions/{_ROUNDS}", by="publisher"))
    report = {
        "suite": "smoke",
        "suite_version": "1",
        "digest": version["digest"],
        "harness": {"name": "smoke", "version": "1"},
        "started_at": version["created_at"],
        "finished_at": version["created_at"],
        "results": [
            {"metric": "tone", "persona": "anybody", "locale": "en", "value": 1, "samples": 99}
        ],
    }
    evaluations = f"{path}/versions/{_ROUNDS}/evaluations"
    accepted(client.call("POST", evaluations, by="evaluator", json=report))
    body = {"channel": "production", "version": _ROUNDS, "reason": "smoke"}
    accepted(client.call("POST", f"{path}/promotions", by="publisher", json=body))


def _resolve(client: Registry) -> None:
    accepted(client.call("GET", f"/v1/resolve/{PREFIX}", by="reader"))


if __name__ == "__main__":
    main()
