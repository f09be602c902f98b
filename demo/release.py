"""Steps 4 to 6: what production demands, the evidence for it, and the people who agree."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from demo import show
from demo.client import Document, Registry, accepted, expect, refused
from demo.measure import HARNESS
from demo.push import PATH, prompts_digest
from demo.samples import Cell, results
from demo.train import Made

_HERE: Final = Path(__file__).parent
_WANTED: Final = {
    "channel": "production",
    "version": 1,
    "reason": "The brand's voice for every customer.",
}


def guard_production(registry: Registry, made: Made) -> None:
    """Register the suite and the policy, and put the channel `production` under it."""
    suite = json.loads((_HERE / "suite.json").read_bytes())
    suite["dataset_digest"] = prompts_digest(made.prompts.held_out)
    accepted(registry.call("POST", "/v1/suites", by="admin", json=suite))
    show.say(f"Suite brand-voice: {', '.join(suite['personas'])} x {', '.join(suite['locales'])}.")
    text = (_HERE / "policy.yaml").read_bytes()
    policy = accepted(registry.call("POST", "/v1/policies", by="admin", yaml=text))
    for rule in policy["document"]["rules"]:
        demand = "at_least" if rule["at_least"] is not None else "at_most"
        show.say(
            f"Policy brand-safe: {rule['metric']} {demand.replace('_', ' ')} {rule[demand]} in "
            f"each cell at {rule['confidence']:.0%} confidence, {rule['min_samples']} samples."
        )
    binding = {"policy": policy["name"], "policy_version": policy["version"]}
    accepted(registry.call("PUT", f"{PATH}/channels/production", by="admin", json=binding))
    show.say("Channel production is bound to it, and 2 people must approve.")


def evaluate(registry: Registry, version: Document, cells: Sequence[Cell]) -> None:
    """Record what was measured in these cells."""
    # When the evaluator measured is the evaluator's own time.
    now = datetime.now(UTC).isoformat()  # noqa: TID251 - this is a client, not the registry
    report = {
        "suite": "brand-voice",
        "suite_version": "1",
        "digest": version["digest"],
        "harness": HARNESS,
        "started_at": now,
        "finished_at": now,
        "settings": {"decoding": "greedy"},
        "results": results(cells),
    }
    path = f"{PATH}/versions/1/evaluations"
    recorded = accepted(registry.call("POST", path, by="evaluator", json=report))
    personas = ", ".join(dict.fromkeys(cell.persona for cell in cells))
    show.say(f"Recorded {len(recorded['cells'])} results of what was measured for {personas}.")


def be_refused_by_the_gate(registry: Registry) -> None:
    """Request the promotion while the evidence misses a persona."""
    response = registry.call("POST", f"{PATH}/promotions", by="publisher", json=_WANTED)
    problem = refused(response, 409, "gate-not-passed")
    show.refusal(problem)
    show.findings(problem["findings"])
    missing = [found["cell"]["persona"] for found in problem["findings"] if _is_missing(found)]
    expect(f"The gate misses only {missing}.", that=missing == ["upset"] * 4)
    closing = [found for found in problem["findings"] if found["outcome"] != "passed"]
    expect(f"The gate objects to {closing}.", that=len(closing) == len(missing))


def request(registry: Registry) -> Document:
    """Request the promotion again; return it, waiting for approvals."""
    response = registry.call("POST", f"{PATH}/promotions", by="publisher", json=_WANTED)
    promotion = accepted(response)
    findings = promotion["decision"]["findings"]
    show.good(f"The gate passed on all {len(findings)} findings.")
    waiting = promotion["waiting_for"]
    names = ", ".join(waiting["eligible"])
    show.say(f"The promotion waits for {waiting['approvals']} approvals, of {names}.")
    people = ["approver-1", "approver-2"]
    expect(f"Eligible to approve were {names}.", that=waiting["eligible"] == people)
    return promotion


def approve(registry: Registry, promotion: Document) -> None:
    """Let the author try, then the two who may; the second approval executes."""
    path = f"/v1/promotions/{promotion['id']}/reviews"
    body = {"verdict": "approve", "comment": "I have seen what the gate saw."}
    response = registry.call("POST", path, by="publisher", json=body)
    problem = refused(response, 403, "separation-of-duties")
    show.say("The author tries to approve:")
    show.refusal(problem)
    for reviewer, state in (("approver-1", "pending"), ("approver-2", "executed")):
        reviewed = accepted(registry.call("POST", path, by=reviewer, json=body))
        got = reviewed["state"]
        expect(f"After {reviewer} the promotion is {got}, not {state}.", that=got == state)
        show.good(f"{reviewer} approves; the promotion is {got}.")


def _is_missing(finding: Document) -> bool:
    return bool(finding["outcome"] == "missing")
