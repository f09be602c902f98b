"""Step 9: the audit chains, verified by the registry and told in words."""

from collections.abc import Iterator, Mapping
from typing import Final

from demo import show
from demo.client import Document, Registry, accepted, expect
from demo.push import PREFIX

_PREFIX_ACTIONS: Final = [
    "prefix.create",
    "version.push",
    "channel.bind",
    "evaluation.record",
    "promotion.refuse",
    "evaluation.record",
    "promotion.request",
    "promotion.approve",
    "promotion.approve",
    "promotion.execute",
    "version.damage",
]
_SENTENCES: Final[Mapping[str, str]] = {
    "principal.create": "created the {kind} {principal}, with the grants {granted}",
    "token.issue": "issued a token to {principal}",
    "base-model.register": "registered the base model {name}, {short_digest}",
    "suite.register": "registered the suite {suite}, version {version}",
    "policy.create": "created the policy {policy}, version {version}",
    "prefix.create": "created the prefix, owned by {owner}",
    "version.push": "pushed version {version}, {short_digest}",
    "channel.bind": "bound {channel} to {policy}, version {policy_version}",
    "evaluation.record": "recorded an evaluation of version {version} by {suite}",
    "promotion.refuse": "asked for {channel} to serve {served}; the gate refused for {unmet_count}",
    "promotion.request": "asked for {channel} to serve {served}; the gate passed",
    "promotion.approve": "approved it: {comment}",
    "promotion.execute": "executed it: {channel} serves {served}, generation {generation}",
    "version.damage": "found stored bytes of version {damaged} damaged",
}


def verify_and_tell(registry: Registry) -> None:
    """Verify the chains of the registry and of the prefix, and tell what is on them."""
    _verify_and_tell(registry, "registry")
    subject = f"prefix:{PREFIX}"
    actions = [entry["action"] for entry in _verify_and_tell(registry, subject)]
    expect(f"On the chain of {subject} are {actions}.", that=actions == _PREFIX_ACTIONS)


def _verify_and_tell(registry: Registry, subject: str) -> list[Document]:
    entries = list(_entries(registry, subject))
    query = {"subject": subject}
    verdict = accepted(registry.call("GET", "/v1/audit/verify", by="auditor", query=query))
    whole = verdict["valid"] is True and verdict["entries"] == len(entries)
    expect(f"The chain of {subject} does not verify: {verdict}.", that=whole)
    show.good(f"The chain of {subject} is valid: {len(entries)} entries up to {verdict['head']}.")
    show.timeline((entry["at"][11:19], entry["principal"], _sentence(entry)) for entry in entries)
    return entries


def _entries(registry: Registry, subject: str) -> Iterator[Document]:
    query = {"subject": subject}
    while True:
        page = accepted(registry.call("GET", "/v1/audit", by="auditor", query=query))
        yield from page["items"]
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def _sentence(entry: Document) -> str:
    facts = entry["facts"]
    grants = [f"{grant['role']}:{grant['namespace']}" for grant in facts.get("grants", [])]
    shares = [
        f"version {share['version']} ({share['weight'] / 10_000:.0%})"
        for share in facts.get("allocation", [])
    ]
    told = {
        "granted": ", ".join(grants),
        "served": ", ".join(shares),
        "short_digest": f"{facts.get('digest', '')[:19]}...",
        "damaged": ", ".join(map(str, facts.get("versions", []))),
        "unmet_count": f"{len(facts.get('unmet', []))} findings",
    }
    # An action that nobody has written a sentence for is told by its name.
    return _SENTENCES.get(entry["action"], entry["action"]).format(**facts, **told)
