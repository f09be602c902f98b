"""The gate over many samples: the growth of decision and recording times with their number."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.artifacts import ARCHITECTURE, BOUNDARY, an_artifact, multipart
from benchmarks.plans import PlanLog, logging_plans
from benchmarks.processes import cpu_s, peak_mib, reset_peak
from benchmarks.registry import BASE, SMALL_MB, Registry, installation, report, served
from benchmarks.series import Section, timed

# Limits on two otherwise idle cores; the report shows them next to the measurements.
DECISION_LIMIT_MS: Final = 300
DECISION_ROWS: Final = 100_000
RECORDING_LIMIT_S: Final = 30
RECORDING_LIMIT_MIB: Final = 200
RECORDING_ROWS: Final = 1_000_000

_PERSONAS: Final = ("novice", "expert", "upset", "brief", "formal")
_LOCALES: Final = ("en", "de", "fr")
_CELLS: Final = [(persona, locale) for persona in _PERSONAS for locale in _LOCALES]
_GOOD: Final = 0.95  # share of the samples with the right tone
_ROUNDS: Final = 5
_FORM: Final = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

# 5 personas x 3 locales x 2 metrics are 30 cells.
_SUITE: Final[dict[str, Any]] = {
    "name": "rows",
    "version": "1",
    "dataset_digest": f"sha256:{'e' * 64}",
    "personas": list(_PERSONAS),
    "locales": list(_LOCALES),
    "metrics": [
        {"name": "tone", "kind": "proportion", "higher_is_better": True},
        {"name": "bleu", "kind": "mean", "higher_is_better": True, "minimum": 0, "maximum": 100},
    ],
}
# The margins are wide enough for a thousand rows: 66 pairs in a cell.
_POLICY: Final[dict[str, Any]] = {
    "name": "rows",
    "approvals": {"required": 0},
    "evidence": {"level": 1},
    "rules": [
        {"metric": "rows/tone", "at_least": 0.7, "no_worse_than": {"incumbent": 0.3}},
        {"metric": "rows/bleu", "at_least": 10, "no_worse_than": {"incumbent": 30}},
    ],
}


@dataclass(frozen=True, slots=True)
class Recording:
    """The costs of recording some rows."""

    seconds: float
    cpu_s: float
    extra_mib: float


def gate(section: Section, folder: Path, *, sizes: Sequence[int]) -> None:
    """Record rows for an incumbent and a candidate, and evaluate the gate on them."""
    with installation(folder) as installed:
        with served(installed) as registry:
            _populate(registry)
            taken = [_measure(section, registry, rows) for rows in sizes]
        plans = logging_plans(installed.stores.postgres)
        with served(installed) as registry:
            plans.exclude_background_statements()
            statements = [_statements(section, registry, plans, rows) for rows in sizes]
    if len(set(statements)) > 1:
        section.problems.append(f"A gate's statements increase with the rows: {statements}.")
    section.text = "\n".join(_verdicts(section, dict(zip(sizes, taken, strict=True))))


def _populate(registry: Registry) -> None:
    base = {"name": "base", "digest": BASE, "parameters": 8_000_000_000}
    body = base | {"architecture": ARCHITECTURE}
    registry.by("publisher").call("POST", "/v1/base-models", json_body=body)
    registry.by("admin").call("POST", "/v1/suites", json_body=_SUITE)
    registry.by("admin").call("POST", "/v1/policies", json_body=_POLICY)


def _measure(section: Section, registry: Registry, rows: int) -> Recording:
    """Measure on a new prefix: version 1 is the incumbent, version 2 the candidate."""
    path = _path(rows)
    namespace, name = path.split("/")[-2:]
    prefix = {"namespace": namespace, "name": name, "owner": "admin"}
    registry.by("publisher").call("POST", "/v1/prefixes", json_body=prefix)
    binding = {"policy": "rows", "policy_version": 1}
    registry.by("admin").call("PUT", f"{path}/channels/production", json_body=binding)
    first = _record(registry, path, rows)
    request = {"channel": "production", "version": 1, "reason": "the incumbent"}
    registry.by("publisher").call("POST", f"{path}/promotions", json_body=request)
    second = _record(registry, path, rows)
    evaluator = registry.by("evaluator")
    request_gate = evaluator.request("GET", f"{path}/versions/2/gate?channel=production")
    decision = evaluator.send(request_gate).json()
    if decision["result"] != "passed" or decision["incumbent"] is None:
        raise RuntimeError(f"the gate did not pass against an incumbent: {decision}")
    pids, start = registry.server.tree(), cpu_s(registry.server.tree())
    seconds = [timed(lambda: evaluator.send(request_gate)) for _ in range(_ROUNDS)]
    busy = (cpu_s(pids) - start) / _ROUNDS
    system = f"{rows:,} rows"
    section.add("gate decision", system, "ms", *(1000 * each for each in seconds))
    section.add("of which the registry's CPU on the decision", system, "ms", 1000 * busy)
    section.add("record the rows", system, "s", first.seconds, second.seconds)
    section.add("of which the registry's CPU", system, "s", first.cpu_s, second.cpu_s)
    section.add("memory while recording", system, "MiB", first.extra_mib, second.extra_mib)
    return max(first, second, key=lambda each: each.seconds)


def _record(registry: Registry, path: str, rows: int) -> Recording:
    """Push a version and record `rows` samples of it."""
    artifact = an_artifact(SMALL_MB)
    described = json.dumps({"base_model": BASE}).encode()
    parts = {"version": described, "config": artifact.config, "weights": artifact.weights}
    body = multipart(parts)
    pushed = registry.by("publisher").call("POST", f"{path}/versions", headers=_FORM, body=body)
    document = report(pushed["digest"]) | {"suite": "rows", "results": []}
    parts = {"evaluation": json.dumps(document).encode(), "samples": samples(rows)}
    evaluator = registry.by("evaluator")
    target = f"{path}/versions/{pushed['number']}/evaluations"
    request = evaluator.request("POST", target, headers=_FORM, body=multipart(parts))
    pids = registry.server.tree()
    before = registry.server.memory_mib()["rss_mib"]
    reset_peak(pids)
    start = cpu_s(pids)
    seconds = timed(lambda: evaluator.send(request))
    return Recording(seconds, cpu_s(pids) - start, max(peak_mib(pids) - before, 0.0))


def samples(rows: int) -> bytes:
    """Return JSON Lines: the same samples at each call, with slightly different scores."""
    source = random.Random()  # noqa: S311 - scores, not secrets
    lines = []
    for number in range(rows):
        persona, locale = _CELLS[number % len(_CELLS)]
        tone, bleu = int(source.random() < _GOOD), round(30 + 10 * source.random(), 2)
        lines.append(
            f'{{"id": "sample-{number:07}", "persona": "{persona}", "locale": "{locale}", '
            f'"scores": {{"tone": {tone}, "bleu": {bleu}}}}}'
        )
    return "\n".join(lines).encode()


def _statements(section: Section, registry: Registry, plans: PlanLog, rows: int) -> int:
    evaluator = registry.by("evaluator")
    request = evaluator.request("GET", f"{_path(rows)}/versions/2/gate?channel=production")
    evaluator.send(request)  # the first statements of a connection
    # The least of several counts: the registry sometimes also records the use of a token.
    count = min(len(plans.of(lambda: evaluator.send(request))) for _ in range(_ROUNDS))
    section.add("statements of a gate", f"{rows:,} rows", "statements", count)
    return count


def _path(rows: int) -> str:
    return f"/v1/prefixes/bench/rows-{rows}"


def _verdicts(section: Section, taken: dict[int, Recording]) -> list[str]:
    """Return a line for each limit and its measurement."""
    lines = []
    decided = section.find("gate decision", f"{DECISION_ROWS:,} rows")
    if decided is not None:
        limit = f"A decision over {DECISION_ROWS:,} rows should take {DECISION_LIMIT_MS} ms"
        lines.append(f"- {limit}: {_compared(decided.median, DECISION_LIMIT_MS, 'ms')}")
    if recorded := taken.get(RECORDING_ROWS):
        limit = f"Recording {RECORDING_ROWS:,} rows should take {RECORDING_LIMIT_S} s"
        lines.append(f"- {limit}: {_compared(recorded.seconds, RECORDING_LIMIT_S, 's')}")
        limit = f"and {RECORDING_LIMIT_MIB} MiB of memory more than at rest"
        lines.append(f"- {limit}: {_compared(recorded.extra_mib, RECORDING_LIMIT_MIB, 'MiB')}")
    return lines


def _compared(measured: float, limit: float, unit: str) -> str:
    return f"{'met' if measured <= limit else '**missed**'}, {measured:,.0f} {unit}."
