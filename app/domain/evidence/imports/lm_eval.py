"""The results file of lm-evaluation-harness, and the names of its samples files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.errors import Fault
from app.domain.evidence.imports.documents import (
    count,
    known_version,
    later,
    mapping_faults,
    member,
    moment,
    names,
    number,
    settings_of,
)
from app.domain.evidence.measured import Measured
from app.domain.evidence.reports import Report
from app.domain.evidence.suites import Suite
from app.domain.strict_json import quoted

RESULTS_FILE: Final = "results.json"
# The tool names a file of samples by its task and the time of the run.
_SAMPLES_FILE: Final = re.compile(
    r"(?:.*[/\\])?samples_(?P<task>.+)_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?\.jsonl(?:\.gz)?"
)
_SEEDS: Final = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
_CONFIG: Final = ("model", "model_args", "gen_kwargs", "batch_size", "limit", *_SEEDS)
_RUN: Final = ("model_source", "model_name", "git_hash", "transformers_version", "task_hashes")


@dataclass(frozen=True, slots=True)
class TaskMap:
    """The mapping of a task to cells: `metrics` maps `metric,filter` to a metric of the suite."""

    task: str
    persona: str
    locale: str
    metrics: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Task:
    """A mapped task as the results file describes it.

    Attributes:
        map: The caller's mapping of the task.
        effective: The number of documents that the tool evaluated, by its own count.
        samples_hash: The hash over the hashes of all its samples, in the order of their file.
        reported: The tool's own aggregate by `metric,filter`; NaN if it has none.
    """

    map: TaskMap
    effective: int
    samples_hash: str
    reported: Mapping[str, float]


def task_of_file(file_name: str) -> str | None:
    """Return the task of a samples file by its name, None if the tool gives no such name."""
    match = _SAMPLES_FILE.fullmatch(file_name)
    return match["task"] if match else None


def read_results(
    document: Mapping[str, object], maps: Sequence[TaskMap], suite: Suite
) -> tuple[Report | None, list[Task], list[Fault]]:
    """Return the run and its mapped tasks, or the faults of both."""
    faults = [*_map_faults(maps, suite)]
    tasks: list[Task] = []
    for each in maps:
        task, found = _task(document, each, suite)
        faults += found
        tasks += [task] if task is not None else []
    report, found = _report(document, tasks)
    return report, tasks, [*faults, *found]


def _map_faults(maps: Sequence[TaskMap], suite: Suite) -> Iterator[Fault]:
    seen: set[str] = set()
    for each in maps:
        if each.task in seen:
            yield Fault("repeated-task", f"The task {quoted(each.task)} is mapped twice.")
        seen.add(each.task)
        metrics = list(each.metrics.values())
        yield from mapping_faults(suite, persona=each.persona, locale=each.locale, metrics=metrics)
        for name in sorted({name for name in metrics if metrics.count(name) > 1}):
            message = f"Two metrics of {quoted(each.task)} are mapped to {quoted(name)}; map one."
            yield Fault("repeated-metric", message)


def _task(
    document: Mapping[str, object], mapped: TaskMap, suite: Suite
) -> tuple[Task | None, list[Fault]]:
    name, results = mapped.task, member(document, "results")
    sizes = member(document, "n-samples")
    if name not in results or name not in sizes:
        kind = "a group; map its tasks" if name in results else "not in the results"
        message = f"{quoted(name)} is {kind}: {names(sizes)}."
        return None, [Fault("unknown-task", message)]
    faults = [*_metric_faults(document, mapped, suite)]
    effective = count(member(sizes, name).get("effective"))
    samples_hash = member(document, "task_hashes").get(name)
    if effective is None or not isinstance(samples_hash, str):
        message = f"The results do not say how many samples of {quoted(name)} there are, or lack "
        faults.append(Fault("no-samples", f"{message}their hash; run with --log_samples."))
        return None, faults
    reported = {key: number(member(results, name).get(key)) for key in mapped.metrics}
    found = {key: value for key, value in reported.items() if value is not None}
    return Task(mapped, effective, samples_hash, found), faults


def _metric_faults(
    document: Mapping[str, object], mapped: TaskMap, suite: Suite
) -> Iterator[Fault]:
    results = member(document, "results", mapped.task)
    directions = member(document, "higher_is_better", mapped.task)
    for key, name in mapped.metrics.items():
        metric, _, _ = key.partition(",")
        if number(results.get(key)) is None:
            known = [each for each in results if "," in each and "_stderr," not in each]
            message = f"{quoted(mapped.task)} has no metric {quoted(key)}; it has {names(known)}."
            yield Fault("unknown-metric", message)
            continue
        direction, ours = directions.get(metric), suite.metric(name)
        if not isinstance(direction, bool):
            message = (
                f"The results do not say whether a higher {quoted(metric)} of "
                f"{quoted(mapped.task)} is better; state it in the task, and map tasks rather "
                "than groups."
            )
            yield Fault("direction-unknown", message)
        elif ours is not None and ours.higher_is_better is not direction:
            better = "higher" if direction else "lower"
            message = (
                f"In {quoted(mapped.task)} a {better} {quoted(metric)} is better; not in {suite}."
            )
            yield Fault("direction-contradicts", f"{message} Map it to another metric than {name}.")


def _report(
    document: Mapping[str, object], tasks: Sequence[Task]
) -> tuple[Report | None, list[Fault]]:
    version = known_version(document.get("lm_eval_version"))
    started = moment(document.get("date"))
    took = document.get("total_evaluation_time_seconds")
    finished = None if started is None else later(started, took)
    if version is None or started is None or finished is None:
        message = "It is not a results file: lm_eval_version, date or its duration is missing."
        return None, [Fault("not-results", message)]
    config = member(document, "config")
    settings = settings_of(
        {name: config.get(name) for name in _CONFIG}
        | {name: document.get(name) for name in _RUN}
        | {name: member(document, name) or None for name in ("versions", "n-shot")},
        RESULTS_FILE,
    )
    harness = {"name": "lm-eval", "version": version}
    reasons = list(_partial_reasons(document, tasks))
    report = Report(
        *(harness, settings, started, finished, reasons), sparse=True, measured=_measured(config)
    )
    return report, []


def _measured(config: Mapping[str, object]) -> Measured:
    """Return the model and adapter that the run loaded, by its own arguments."""
    given = config.get("model_args")
    if isinstance(given, str):
        given = dict(_split(pair) for pair in given.split(","))
    arguments = given if isinstance(given, dict) else {}
    return Measured(
        engine=str(config.get("model")),
        model=_first(arguments, ("pretrained", "model")),
        adapter=_first(arguments, ("peft", "lora_local_path", "delta")),
        names_adapters=True,
    )


def _split(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name.strip(), value.strip()


def _first(arguments: Mapping[str, object], names_: Sequence[str]) -> str | None:
    return next((str(arguments[name]) for name in names_ if arguments.get(name)), None)


def _partial_reasons(document: Mapping[str, object], tasks: Sequence[Task]) -> Iterator[str]:
    limit = member(document, "config").get("limit")
    if limit is not None:
        text = f" of {limit:g}" if isinstance(limit, int | float) else ""
        yield f"The run had a limit{text} on samples."
    for task in tasks:
        original = count(member(document, "n-samples", task.map.task).get("original"))
        if original != task.effective:
            total = "an unknown number" if original is None else original
            yield f"{quoted(task.map.task)}: {task.effective} of {total} samples were evaluated."
