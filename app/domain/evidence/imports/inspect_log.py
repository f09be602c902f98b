"""The header of an Inspect log: the circumstances of a run, and its aggregates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.domain.errors import Fault
from app.domain.evidence.imports.documents import (
    count,
    known_version,
    mapping_faults,
    member,
    moment_of,
    names,
    number,
    settings_of,
)
from app.domain.evidence.measured import Measured
from app.domain.evidence.reports import Report
from app.domain.evidence.suites import MetricKind, Suite
from app.domain.strict_json import quoted

_SETTINGS: Final = (
    "task",
    "task_version",
    "task_args",
    "model",
    "model_args",
    "model_generate_config",
    "config",
    "revision",
    "packages",
)
_STATUSES: Final = ("success", "started", "cancelled", "error")
# Metrics that are the mean over all scored samples, so that they can be recomputed.
_MEANS: Final = ("accuracy", "mean")


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a sample's persona or locale: a key of its metadata, or a fixed value."""

    metadata: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class LogMap:
    """The mapping of samples to cells: `metrics` maps a scorer to a metric of the suite."""

    persona: Source
    locale: Source
    metrics: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Header:
    """The statements of the header that the samples must confirm.

    Attributes:
        task: The task's name.
        sample_ids: The samples that the run should have taken; None if the log does not say.
        epochs: How often each sample should have been run.
        completed: The number of samples, times epochs, that ended without an error.
        reported: By scorer, the number of scored samples, and their means.
    """

    task: str
    sample_ids: frozenset[str] | None
    epochs: int
    completed: int
    reported: Mapping[str, tuple[int | None, tuple[float, ...]]]


def read_header(
    document: Mapping[str, object], mapped: LogMap, suite: Suite, file: str
) -> tuple[Report | None, Header | None, list[Fault]]:
    """Return the run as a report and the rest of its header, or the faults.

    Args:
        document: The header; it need not contain the samples.
        mapped: The caller's mapping of samples to cells.
        suite: The suite that the run claims to have evaluated.
        file: The name under which the log is stored.
    """
    faults = [
        *mapping_faults(
            suite,
            persona=mapped.persona.value,
            locale=mapped.locale.value,
            metrics=mapped.metrics.values(),
        ),
        *_map_faults(document, mapped, suite),
    ]
    if suite.sealed and document.get("invalidated") is not False:
        message = "The log is marked as invalidated, so it is no evidence on a sealed suite."
        faults.append(Fault("invalidated", message))
    report = _report(document, file)
    task = member(document, "eval").get("task")
    if report is None or not isinstance(task, str):
        message = "It is not an Inspect log: its task, status, times or packages are missing."
        return None, None, [*faults, Fault("not-a-log", message)]
    listed = member(document, "eval", "dataset").get("sample_ids")
    sample_ids = frozenset(map(str, listed)) if isinstance(listed, list) else None
    completed = count(member(document, "results").get("completed_samples")) or 0
    epochs = count(member(document, "eval", "config").get("epochs")) or 1
    return report, Header(task, sample_ids, epochs, completed, _reported(document)), faults


def _map_faults(document: Mapping[str, object], mapped: LogMap, suite: Suite) -> Iterator[Fault]:
    scorers = set(_scorers(document))
    epochs = member(document, "eval", "config").get("epochs")
    for scorer, name in mapped.metrics.items():
        if scorers and scorer not in scorers:
            message = f"The log has no scorer {quoted(scorer)}; it has {names(sorted(scorers))}."
            yield Fault("unknown-scorer", message)
        metric = suite.metric(name)
        is_proportion = metric is not None and metric.kind is MetricKind.PROPORTION
        if is_proportion and isinstance(epochs, int) and epochs > 1:
            message = (
                f"{quoted(scorer)} is a mean over {epochs} epochs of a sample, and {name} is a "
                "proportion, which scores a sample 0 or 1; map it to a metric of kind mean."
            )
            yield Fault("epochs-of-a-proportion", message)
    metrics = list(mapped.metrics.values())
    for name in sorted({name for name in metrics if metrics.count(name) > 1}):
        yield Fault("repeated-metric", f"Two scorers are mapped to {quoted(name)}; map one.")


def _scorers(document: Mapping[str, object]) -> Iterator[str]:
    scores = member(document, "results").get("scores")
    for each in scores if isinstance(scores, list) else []:
        if isinstance(each, dict):
            yield str(each.get("scorer"))


def _reported(document: Mapping[str, object]) -> dict[str, tuple[int | None, tuple[float, ...]]]:
    found: dict[str, tuple[int | None, tuple[float, ...]]] = {}
    scores = member(document, "results").get("scores")
    for each in scores if isinstance(scores, list) else []:
        # A scorer that returns objects has a score for each of their keys, under the key's name.
        if not isinstance(each, dict) or each.get("name") != each.get("scorer"):
            continue
        if each.get("reducer") in (None, "mean"):
            means = tuple(_means(member(each, "metrics")))
            found[str(each["name"])] = (count(each.get("scored_samples")), means)
    return found


def _means(metrics: Mapping[str, object]) -> Iterator[float]:
    for name in metrics:
        metric = member(metrics, name)
        value = number(metric.get("value"))
        plain = not metric.get("params") and metric.get("group") is None
        if metric.get("name") in _MEANS and plain and value is not None:
            yield value


def _report(document: Mapping[str, object], file: str) -> Report | None:
    run, stats = member(document, "eval"), member(document, "stats")
    version = known_version(member(run, "packages").get("inspect_ai"))
    started = moment_of(stats.get("started_at")) or moment_of(run.get("created"))
    finished = moment_of(stats.get("completed_at")) or started
    if version is None or started is None or finished is None:
        return None
    if document.get("status") not in _STATUSES:
        return None
    plan = member(document, "plan").get("steps")
    settings = settings_of({name: run.get(name) for name in _SETTINGS} | {"plan": plan}, file)
    harness = {"name": "inspect-ai", "version": version}
    reasons = list(_partial_reasons(document))
    return Report(
        *(harness, settings, started, finished, reasons), sparse=True, measured=_measured(run)
    )


def _measured(run: Mapping[str, object]) -> Measured:
    """Return the model that the run names as `provider/model`; `hf/local` is one on disk."""
    engine, _, model = str(run.get("model") or "").partition("/")
    return Measured(engine, None if model in ("", "local") else model)


def _partial_reasons(document: Mapping[str, object]) -> Iterator[str]:
    status, results = document.get("status"), member(document, "results")
    config, dataset = member(document, "eval", "config"), member(document, "eval", "dataset")
    if status != "success":
        yield f"The run's status is {status}, not success."
    if document.get("invalidated") is not False:
        yield "The log is marked as invalidated."
    if config.get("limit") is not None:
        yield "The run had a limit on samples."
    if config.get("sample_id") is not None:
        yield "The run took chosen samples only."
    if results.get("early_stopping") is not None:
        yield "The run stopped early."
    total, completed = count(results.get("total_samples")), count(results.get("completed_samples"))
    if total is None or completed is None or completed < total:
        yield f"{completed or 0} of {'?' if total is None else total} samples were completed."
    listed, size = dataset.get("sample_ids"), count(dataset.get("samples"))
    if isinstance(listed, list) and size is not None and len(listed) < size:
        yield f"The run took {len(listed)} of the data set's {size} samples."
