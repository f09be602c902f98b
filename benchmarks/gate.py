"""The gate over many samples: how its decision, and recording the evidence, grow with them."""

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

# What a gate should take on two cores that nothing else uses; told beside what it took.
DECISION_LIMIT_MS: Final = 300
DECISION_ROWS: Final = 100_000
RECORDING_LIMIT_S: Final = 30
RECORDING_LIMIT_MIB: Final = 200
RECORDING_ROWS: Final = 1_000_000

_PERSONAS: Final = ("novice", "expert", "upset", "brief", "formal")
_LOCALES: Final = ("en", "de", "fr")
_CELLS: Final = [(persona, locale) for persona in _PERSONAS for locale in _LOCALES]
_GOOD: Final = 0.95  # of the samples have the right tone
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
# Margins so wide that a thousand rows, 66 pairs in a cell, can show them.
_POLICY: Final[dict[str, Any]] = {
    "name": "rows",
    "approvals": {"required": 0},
    "evidence": {"samples": "required"},
    "rules": [
        {"metric": "rows/tone", "at_least": 0.7, "no_worse_than": {"incumbent": 0.3}},
        {"metric": "rows/bleu", "at_least": 10, "no_worse_than": {"incumbent": 30}},
    ],
}


@dataclass(frozen=True, slots=True)
class Recording:
    """What recording some rows took."""

    seconds: float
    cpu_s: float
    extra_mib: float


def gate(section: Section, folder: Path, *, sizes: Sequence[int]) -> None:
    """Record rows for an incumbent and a candidate, and judge the one against the other."""
    with installation(folder) as installed:
        with served(installed) as registry:
            _furnish(registry)
            taken = [_measure(section, registry, rows) for rows in sizes]
        plans = logging_plans(installed.stores.postgres)
        with served(installed) as registry:
            plans.leave_out_chores()
            statements = [_statements(section, registry, plans, rows) for rows in sizes]
    if len(set(statements)) > 1:
        section.problems.append(f"The statements of a gate grow with the rows: {statements}.")
    section.text = "\n".join(_verdicts(section, dict(zip(sizes, taken, strict=True))))


def _furnish(registry: Registry) -> None:
    base = {"name": "base", "digest": BASE, "parameters": 8_000_000_000}
    body = base | {"architecture": ARCHITECTURE}
    registry.by("publisher").call("POST", "/v1/base-models", json_body=body)
    registry.by("admin").call("POST", "/v1/suites", json_body=_SUITE)
    registry.by("admin").call("POST", "/v1/policies", json_body=_POLICY)


def _measure(section: Section, registry: Registry, rows: int) -> Recording:
    """Measure on a prefix of its own: version 1 is the incumbent, version 2 the candidate."""
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
    asked = evaluator.request("GET", f"{path}/versions/2/gate?channel=production")
    decision = evaluator.send(asked).json()
    if decision["result"] != "passed" or decision["incumbent"] is None:
        raise RuntimeError(f"the gate was to pass against an incumbent: {decision}")
    pids, start = registry.server.tree(), cpu_s(registry.server.tree())
    seconds = [timed(lambda: evaluator.send(asked)) for _ in range(_ROUNDS)]
    busy = (cpu_s(pids) - start) / _ROUNDS
    system = f"{rows:,} rows"
    section.add("gate decision", system, "ms", *(1000 * each for each in seconds))
    section.add("of which the registry's CPU on the decision", system, "ms", 1000 * busy)
    section.add("record the rows", system, "s", first.seconds, second.seconds)
    section.add("of which the registry's CPU", system, "s", first.cpu_s, second.cpu_s)
    section.add("memory while recording", system, "MiB", first.extra_mib, second.extra_mib)
    return max(first, second, key=lambda each: each.seconds)


def _record(registry: Registry, path: str, rows: int) -> Recording:
    """Push a version and record that many rows of it."""
    artifact = an_artifact(SMALL_MB)
    described = json.dumps({"base_model": BASE}).encode()
    parts = {"version": described, "config": artifact.config, "weights": artifact.weights}
    body = multipart(parts)
    pushed = registry.by("publisher").call("POST", f"{path}/versions", headers=_FORM, body=body)
    told = report(pushed["digest"]) | {"suite": "rows", "results": []}
    parts = {"evaluation": json.dumps(told).encode(), "samples": samples(rows)}
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
    """Return JSON Lines: the same samples at each call, with scores that differ a little."""
    chance = random.Random()  # noqa: S311 - scores, not secrets
    lines = []
    for number in range(rows):
        persona, locale = _CELLS[number % len(_CELLS)]
        tone, bleu = int(chance.random() < _GOOD), round(30 + 10 * chance.random(), 2)
        lines.append(
            f'{{"id": "sample-{number:07}", "persona": "{persona}", "locale": "{locale}", '
            f'"scores": {{"tone": {tone}, "bleu": {bleu}}}}}'
        )
    return "\n".join(lines).encode()


def _statements(section: Section, registry: Registry, plans: PlanLog, rows: int) -> int:
    evaluator = registry.by("evaluator")
    request = evaluator.request("GET", f"{_path(rows)}/versions/2/gate?channel=production")
    evaluator.send(request)  # the connection's own first statements
    # The least of some counts: the registry also notes now and then that a token was used.
    count = min(len(plans.of(lambda: evaluator.send(request))) for _ in range(_ROUNDS))
    section.add("statements of a gate", f"{rows:,} rows", "statements", count)
    return count


def _path(rows: int) -> str:
    return f"/v1/prefixes/bench/rows-{rows}"


def _verdicts(section: Section, taken: dict[int, Recording]) -> list[str]:
    """Return a line for each limit: what it is, and what was measured."""
    lines = []
    decided = section.find("gate decision", f"{DECISION_ROWS:,} rows")
    if decided is not None:
        limit = f"A decision over {DECISION_ROWS:,} rows should take {DECISION_LIMIT_MS} ms"
        lines.append(f"- {limit}: {_told(decided.median, DECISION_LIMIT_MS, 'ms')}")
    if recorded := taken.get(RECORDING_ROWS):
        limit = f"Recording {RECORDING_ROWS:,} rows should take {RECORDING_LIMIT_S} s"
        lines.append(f"- {limit}: {_told(recorded.seconds, RECORDING_LIMIT_S, 's')}")
        limit = f"and {RECORDING_LIMIT_MIB} MiB of memory more than at rest"
        lines.append(f"- {limit}: {_told(recorded.extra_mib, RECORDING_LIMIT_MIB, 'MiB')}")
    return lines


def _told(measured: float, limit: float, unit: str) -> str:
    return f"{'met' if measured <= limit else '**missed**'}, {measured:,.0f} {unit}."
