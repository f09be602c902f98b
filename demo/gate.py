"""The gate decides: too few samples, a missing persona, no control run, a comparison."""

from typing import Final

from demo import show
from demo.client import Document, Registry, accepted, expect, refused
from demo.evidence import record, record_control_run
from demo.push import PATH
from demo.release import TONE, wanted
from demo.samples import cells, first_of_each_cell
from demo.train import Base, Trained, measure

# How many prompts of each persona were collected so far, in each language.
_COLLECTED: Final = {"novice": 200, "expert": 24, "upset": 0}


def refuse_short_evaluation(registry: Registry, version: Document, trained: Trained) -> None:
    """Record the prompts collected so far, and request the promotion."""
    short = first_of_each_cell(trained.samples, _COLLECTED)
    record(registry, version, short)
    numbers = ", ".join(f"{persona} {number}" for persona, number in _COLLECTED.items())
    show.say(f"Recorded {len(short)} samples, in each language: {numbers}.")
    findings = refused_by_the_gate(registry, version)
    show.findings(findings, TONE, "at_least")
    above = [each for each in _tone(findings, "failed") if each["observed"] >= each["demanded"]]
    expect("No cell was measured above the limit and refused.", that=len(above) > 0)
    show.say(f"Above the limit and refused: {above[0]['message']}")
    passed = _tone(findings, "passed")
    expect("No cell passed at once.", that=len(passed) > 0)
    show.good(f"Passed at once: {passed[0]['message']}")
    missing = {each["cell"]["persona"] for each in _tone(findings, "missing")}
    expect(f"The gate misses the tone of {missing}.", that=missing == {"upset"})


def add_samples_and_control_run(
    registry: Registry, version: Document, base: Base, base_digest: str, trained: Trained
) -> None:
    """Record every sample of every persona, and the bare base model on the same prompts."""
    record(registry, version, trained.samples)
    control = measure(base.model, base.prompts.held_out)
    record_control_run(registry, base_digest, control)
    show.say(f"Recorded {len(trained.samples):,} samples, and as many of the bare base model.")
    show.cells(cells(control), cells(trained.samples))


def show_pool(registry: Registry, version: Document) -> None:
    """Show that both runs count together: the short one neither shuts the gate nor is forgotten."""
    path = f"{PATH}/versions/{version['number']}/gate"
    query = {"channel": "production"}
    decision = accepted(registry.call("GET", path, by="evaluator", query=query))
    closing = [found for found in decision["findings"] if _closes(found)]
    expect(f"The gate stays shut: {closing}.", that=not closing)
    again = next(each for each in _tone(decision["findings"], "passed") if each["looks"] > 1)
    show.say("Both runs count together: a prompt asked twice is one sample, measured better.")
    show.good(f"Passed at look {again['look']} over {again['runs']} runs: {again['message']}")


def refuse_by_comparison(registry: Registry, version: Document) -> None:
    """Request a version that keeps every limit and is worse than the version it would replace."""
    findings = refused_by_the_gate(registry, version)
    show.findings(findings, TONE, "incumbent")
    others = [f"{each['rule']} {each['demand']}" for each in findings if _closes(each)]
    expect(f"The gate objects to {others}.", that=set(others) == {f"{TONE} incumbent"})
    worse = next(each for each in findings if _closes(each))
    show.say(f"Refused: {worse['message']}")


def refused_by_the_gate(registry: Registry, version: Document) -> list[Document]:
    """Request a promotion that the gate must refuse; return its findings."""
    body = wanted(version["number"])
    response = registry.call("POST", f"{PATH}/promotions", by="publisher", json=body)
    problem = refused(response, 409, "gate-not-passed")
    show.refusal(problem)
    findings: list[Document] = problem["findings"]
    return findings


def _closes(finding: Document) -> bool:
    return finding["outcome"] in ("failed", "missing")


def _tone(findings: list[Document], outcome: str) -> list[Document]:
    """Return the cells whose tone was held against its limit with this outcome."""
    wanted_values = TONE, "at_least", outcome
    return [
        each
        for each in findings
        if (each["rule"], each["demand"], each["outcome"]) == wanted_values
    ]
