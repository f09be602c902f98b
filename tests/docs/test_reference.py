"""The reference of settings and commands, and the figures of the performance page."""

import json
import re
import statistics

from app import cli
from app.settings import Settings
from benchmarks import report
from tests.docs.test_names import COMMANDS
from tests.support.markdown_pages import ROOT, rows_after, text_of

SETTINGS = rows_after("# Settings", text_of("docs/reference/settings.md"))
CLI = text_of("docs/reference/cli.md")
PERFORMANCE = text_of("docs/reference/performance.md")
SERIES = {
    (series["operation"], series["system"]): series
    for section in json.loads(text_of("benchmarks/results.json"))["sections"]
    for series in section["series"]
}
OURS = "registry, 1 worker"


def test_every_setting_is_listed_with_its_default():
    listed = {row[0].strip("`"): row[2] for row in SETTINGS}
    fields = {f"REGISTRY_{name.upper()}": each for name, each in Settings.model_fields.items()}
    assert list(listed) == list(dict.fromkeys(listed))
    assert set(listed) == set(fields)
    for name, field in fields.items():
        if field.is_required():
            assert listed[name] == "required", name
        elif field.default not in (None, ()):
            assert listed[name].startswith(f"`{field.default}`"), name


def options_of(command):
    """Return the options and arguments of a command as its help shows them."""
    context = cli._cli.commands[command].make_context(command, [], resilient_parsing=True)
    names = {parameter.opts[0] for parameter in context.command.params}
    return {name if name.startswith("-") else name.upper() for name in names}


def test_every_command_is_described_with_its_options():
    sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", CLI, re.DOTALL | re.MULTILINE))
    assert set(sections) == COMMANDS
    for command, section in sections.items():
        described = re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)
        assert set(described) == options_of(command), command


def times_better(operation, reference):
    """Return how many times better the registry did than a reference."""
    ours, theirs = SERIES[operation, OURS], SERIES[operation, reference]
    ratio = statistics.median(ours["values"]) / statistics.median(theirs["values"])
    return ratio if ours["unit"] == "req/s" else 1 / ratio


def rounded(value):
    """Round to two digits, or to the nearest ten from a thousand on."""
    if value >= 1000:
        return f"{round(value, -1):,.0f}"
    return f"{value:.2f}" if value < 1 else f"{value:.2g}"


def test_the_comparison_with_mlflow_is_that_of_the_results():
    systems = ("MLflow", "MLflow, no trap", "MLflow auth, no trap")
    rows = rows_after("<!-- table: mlflow -->", PERFORMANCE)
    assert rows
    for operation, *cells in rows:
        assert cells == [rounded(times_better(operation, each)) for each in systems]


def test_the_comparison_with_the_store_is_that_of_the_results():
    store, redirected = "S3 alone", f"{OURS}, redirected"
    rows = rows_after("<!-- table: transfer -->", PERFORMANCE)
    assert rows
    for size, *cells in rows:
        raw = {way: SERIES[f"{way} {size}", store]["median"] for way in ("push", "pull")}
        shares = (
            raw["push"] / SERIES[f"push {size}", OURS]["median"],
            raw["pull"] / SERIES[f"pull {size}", OURS]["median"],
            raw["pull"] / SERIES[f"pull {size}", redirected]["median"],
        )
        shown = [f"{raw[way]:,.0f}" if raw[way] >= 100 else f"{raw[way]:.1f}" for way in raw]
        assert cells == [*(f"{each:.2f}" for each in shares), *(f"{each} ms" for each in shown)]


def test_the_figures_of_the_readme_are_those_of_the_results():
    readme = (ROOT / "README.md").read_text()
    resolve = "resolve, 1 conn."
    ours, theirs, without = (
        f"{SERIES[resolve, each]['median']:,.0f}" for each in (OURS, "MLflow", "MLflow, no trap")
    )
    assert f"resolved {ours} times a second (MLflow {theirs}, {without} without" in readme
    release = [f"{SERIES['release', each]['median']:.0f}" for each in (OURS, "MLflow")]
    assert "release takes {} ms (MLflow {}:".format(*release) in readme


def test_the_results_open_with_the_introduction_that_the_report_writes():
    assert report._INTRODUCTION in text_of("benchmarks/RESULTS.md")
