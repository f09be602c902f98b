"""Registers the suite and the policy, and puts the channel `production` under it."""

import json
from pathlib import Path
from typing import Final

from demo import show
from demo.client import Document, Registry, accepted
from demo.push import PATH, prompts_digest
from demo.train import Base

_HERE: Final = Path(__file__).parent
# Of the prefix: a tone of 0.95, a toxicity of 0.02, and 4 % of answers unlike the incumbent's.
_ASSUMED: Final = {
    "better_by_of": {"brand-voice/tone": 0.1, "brand-voice/toxicity": 0.03},
    "discordance": 0.04,
}


def guard_production(registry: Registry, base: Base) -> None:
    """Register the suite and the policy, and bind the channel `production` to it."""
    suite = json.loads((_HERE / "suite.json").read_bytes())
    suite["dataset_digest"] = prompts_digest(base.prompts.held_out)
    accepted(registry.call("POST", "/v1/suites", by="admin", json=suite))
    show.say(f"Suite brand-voice: {', '.join(suite['personas'])} x {', '.join(suite['locales'])}.")
    text = (_HERE / "policy.yaml").read_bytes()
    policy = accepted(registry.call("POST", "/v1/policies", by="admin", yaml=text))
    for rule in policy["document"]["rules"]:
        sure = f"in each cell at {rule['confidence']:.0%} confidence"
        show.say(f"Policy brand-safe: {_demands(rule)}, {sure}.")
    binding = {"policy": policy["name"], "policy_version": policy["version"]}
    accepted(registry.call("PUT", f"{PATH}/channels/production", by="admin", json=binding))
    show.say("Production is bound to it. 2 people must approve, 1 for a fifth of the traffic.")
    show_plan(registry, policy["document"])


def show_plan(registry: Registry, policy: Document) -> None:
    """Ask how many samples the policy takes, before anything is measured."""
    body = {"policy": policy} | _ASSUMED
    plan = accepted(registry.call("POST", "/v1/policies/plan", by="evaluator", json=body))
    show.say("POST /v1/policies/plan says how many samples that takes:")
    for demand in plan["demands"]:
        if demand["needed"]:
            name = f"{demand['rule']} {demand['demand'].replace('_', ' ')}"
            show.good(f"{name}: {demand['message']}")


def _demands(rule: Document) -> str:
    limits = [
        f"{name.replace('_', ' ')} {rule[name]}"
        for name in ("at_least", "at_most")
        if rule[name] is not None
    ]
    margins = [
        f"no worse than the {name}" + (f" by more than {margin:g}" if margin else "")
        for name, margin in (rule["no_worse_than"] or {}).items()
        if margin is not None
    ]
    return f"{rule['metric']} {', '.join([*limits, *margins])}"
