"""Real files of evaluation tools, and requests to import them; `make.sh` wrote the files."""

import json
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures"
LM_EVAL, INSPECT = FIXTURES / "lm_eval", FIXTURES / "inspect"
METRICS = [
    {"name": "tone", "kind": "proportion", "higher_is_better": True},
    {"name": "form", "kind": "proportion", "higher_is_better": True},
    {"name": "bluntness", "kind": "proportion", "higher_is_better": False},
    {"name": "grade", "kind": "mean", "higher_is_better": True, "minimum": 0, "maximum": 1},
    {"name": "length", "kind": "mean", "higher_is_better": True},
]


def the_results(run):
    (path,) = (LM_EVAL / run).glob("results_*.json")
    return path


def the_samples(run, task):
    (path,) = (LM_EVAL / run).glob(f"samples_{task}_*.jsonl")
    return path


def a_task(task="voice_novice", persona="novice", locale="en", **metrics):
    """Return the mapping of a task's scores; metrics are `acc="tone"`, of the filter `none`."""
    metrics = {f"{metric},none": name for metric, name in metrics.items()} or {"acc,none": "tone"}
    return {"task": task, "persona": persona, "locale": locale, "metrics": metrics}


TWO_FILTERS = {
    "task": "voice_format",
    "persona": "novice",
    "locale": "en",
    "metrics": {"exact_match,strict": "form", "exact_match,flexible": "grade"},
}


def where(world, version, base):
    if base is not None:
        return f"/v1/base-models/{base}/evaluations", base
    return f"{world.path}/versions/{version['number']}/evaluations", version["digest"]


def send(world, version, tool, described, files, *, base=None, by="evaluator"):
    """Send a run of a tool; `described` replaces or adds fields of its description."""
    path, digest = where(world, version, base)
    claim = {"suite": world.suite, "suite_version": "1", "digest": digest}
    parts = [("evaluation", ("evaluation", json.dumps(claim | described)))]
    return world.call("POST", f"{path}/{tool}", by=by, files=[*parts, *files])


def send_lm_eval(world, version, run, maps, *, samples=None, results=None, **sending):
    """Send a run of lm-eval from the fixtures, or with other content."""
    path = the_results(run)
    files = [("results", (path.name, path.read_bytes() if results is None else results))]
    for each in [the_samples(run, m["task"]) for m in maps] if samples is None else samples:
        name, content = (each.name, each.read_bytes()) if isinstance(each, Path) else each
        files.append(("samples", (name, content)))
    return send(world, version, "lm-eval", {"map": maps}, files, **sending)


def send_inspect(world, version, log, *, content=None, described=None, base=None, **metrics):
    """Send a log of Inspect from the fixtures, or with other content."""
    mapped = {
        "persona": {"metadata": "persona"},
        "locale": {"value": "en"},
        "metrics": metrics or {"polite": "tone"},
    } | (described or {})
    data = (INSPECT / log).read_bytes() if content is None else content
    return send(world, version, "inspect", mapped, [("log", (log, data))], base=base)


def fault_codes(response):
    assert response.status_code == 422, response.text
    return [fault["code"] for fault in response.json()["faults"]]
