"""Moves the channel: promotions that people approve, a split, a rollback and a revocation."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import httpx2

from demo import show
from demo.client import Document, Registry, accepted, expect, refused
from demo.push import PATH, PREFIX
from demo.show import Served

TONE: Final = "brand-voice/tone"
APPROVERS: Final = ("approver-1", "approver-2")
CANARY: Final = 2000  # basis points
REVOKED: Final = "410 version-revoked"

_UNITS: Final = 100
_ALL: Final = 10_000


def wanted(number: int, *, weight: int = _ALL, rest: int | None = None) -> Document:
    """Return a request for a version: all of the traffic, or `weight` beside version `rest`."""
    body: Document = {"channel": "production", "reason": "The brand's voice for every customer."}
    if rest is None:
        return body | {"version": number}
    shares = [{"version": rest, "weight": _ALL - weight}, {"version": number, "weight": weight}]
    return body | {"allocation": shares}


def request(registry: Registry, body: Document, *, shown: str | None = None) -> Document:
    """Request a promotion that the gate passes; return it, waiting for approvals.

    `shown` is the demand on the tone to print cell by cell.
    """
    response = registry.call("POST", f"{PATH}/promotions", by="publisher", json=body)
    promotion = accepted(response)
    findings = promotion["decision"]["findings"]
    show.good(f"The gate passed on all {len(findings)} findings.")
    if shown is not None:
        show.findings(findings, TONE, shown)
    waiting = promotion["waiting_for"]
    names, number = ", ".join(waiting["eligible"]), waiting["approvals"]
    expect(f"Eligible to approve were {names}.", that=waiting["eligible"] == list(APPROVERS))
    show.say(f"Approvals needed: {number}. Eligible: {names}.")
    return promotion


def refuse_the_author(registry: Registry, promotion: Document) -> None:
    """Let the author of the version try to approve it."""
    show.say("The author tries to approve:")
    response = _review(registry, promotion, "publisher")
    show.refusal(refused(response, 403, "separation-of-duties"))


def approve(registry: Registry, promotion: Document, reviewers: Sequence[str]) -> None:
    """Let people approve; the last approval executes the promotion."""
    for reviewer in reviewers:
        reviewed = accepted(_review(registry, promotion, reviewer))
        state, expected = reviewed["state"], "executed" if reviewer == reviewers[-1] else "pending"
        expect(f"After {reviewer} it is {state}, not {expected}.", that=state == expected)
        show.good(f"{reviewer} approves; the promotion is {state}.")


def served(registry: Registry, base_digest: str, after: str, *answers: str) -> Served:
    """Return the channel's traffic, and what 100 users resolve: `answers`, and no other."""
    channel = accepted(registry.call("GET", f"{PATH}/channels/production", by="reader"))
    shares = [
        f"{each['weight'] / 100:g} % version {each['version']}" for each in channel["allocation"]
    ]
    found = Counter(_resolved(registry, base_digest, f"user-{unit}") for unit in range(_UNITS))
    expect(f"After the {after} users resolve {dict(found)}.", that=set(found) == set(answers))
    counted = [f"{number} x {answer}" for answer, number in sorted(found.items())]
    return Served(after, channel["generation"], ", ".join(shares), ", ".join(counted))


def roll_back(registry: Registry, generation: int, reason: str) -> None:
    """Give production the traffic of an earlier generation again, at once."""
    accepted(_rollback(registry, generation, reason))
    show.say(f"approver-1 rolls back to generation {generation}: {reason}")


def revoke(registry: Registry, number: int, reason: str) -> None:
    """Revoke a version everywhere and for good."""
    path = f"{PATH}/versions/{number}/revoke"
    accepted(registry.call("POST", path, by="approver-2", json={"reason": reason}))
    show.say(f"approver-2 revokes version {number}: {reason}")


def refuse_the_revoked(registry: Registry, number: int, generation: int) -> None:
    """Resolve a channel that served only a revoked version, and roll back to it: both refused."""
    query = {"channel": "production"}
    show.say("Resolving production, which served nothing else:")
    response = registry.call("GET", f"/v1/resolve/{PREFIX}", by="reader", query=query)
    problem = refused(response, 410, "version-revoked")
    show.refusal(problem, detail=True)
    show.say(f"Rolling back to generation {generation}, which served version {number}:")
    show.refusal(refused(_rollback(registry, generation, "Try."), 410, "version-revoked"))


def _review(registry: Registry, promotion: Document, reviewer: str) -> httpx2.Response:
    path = f"/v1/promotions/{promotion['id']}/reviews"
    body = {"verdict": "approve", "comment": "I have seen the gate's findings."}
    return registry.call("POST", path, by=reviewer, json=body)


def _rollback(registry: Registry, generation: int, reason: str) -> httpx2.Response:
    path = f"{PATH}/channels/production/rollback"
    body = {"generation": generation, "reason": reason}
    return registry.call("POST", path, by="approver-1", json=body)


def _resolved(registry: Registry, base_digest: str, unit: str) -> str:
    query = {"channel": "production", "base_model": base_digest, "unit": unit}
    response = registry.call("GET", f"/v1/resolve/{PREFIX}", by="reader", query=query)
    if response.is_success:
        return f"version {accepted(response)['version']}"
    refused(response, 410, "version-revoked")
    return REVOKED
