"""Exports the audit log, verifies it offline, and reads the prefix's chain in words."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from demo import show
from demo.client import Document, Registry, accepted, content, expect
from demo.push import PREFIX

_VERIFIER: Final = Path(__file__).parents[1] / "tools" / "verify_audit.py"
_SENTENCES: Final[Mapping[str, str]] = {
    "prefix.create": "created the prefix, owned by {owner}",
    "version.push": "pushed version {version}, {short_digest}",
    "version.damage": "found stored bytes of version {damaged} damaged",
    "version.revoke": "revoked version {version}: {reason}",
    "channel.bind": "bound {channel} to {policy}, version {policy_version}",
    "channel.rollback": "rolled back: {channel} serves {served}, generation {generation}",
    "channel.withdraw": "took it out: {channel} serves {served}, generation {generation}",
    "evaluation.record": "recorded an evaluation of version {version} by {suite}",
    "promotion.refuse": (
        "asked for {channel} to serve {served}; the gate refused for {unmet_count} findings"
    ),
    "promotion.request": "asked for {channel} to serve {served}; the gate passed",
    "promotion.approve": "approved it: {comment}",
    "promotion.execute": "executed it: {channel} serves {served}, generation {generation}",
}


def verify_offline(registry: Registry, folder: Path) -> None:
    """Verify an export of the whole log with the stand-alone verifier, then a changed copy."""
    accepted(registry.call("POST", "/v1/audit/checkpoints", by="admin"))
    key = _exported(registry, "checkpoint/key").decode().strip()
    note, export = folder / "checkpoint.note", folder / "export.jsonl"
    note.write_bytes(_exported(registry, "checkpoint"))
    export.write_bytes(_exported(registry, "export"))
    show.say("verify_audit.py, one file without dependencies, reads an export and a checkpoint:")
    ended = _verifier(export, note, key)
    expect(f"The export does not verify: {ended.stdout}{ended.stderr}", that=ended.returncode == 0)
    for line in ended.stdout.splitlines():
        show.good(line.replace(f"{folder}/", ""))
    changed = export.read_bytes().replace(b'"version.revoke"', b'"version.praise"')
    export.write_bytes(changed)
    show.say("The revocation is taken out of the export, and the verifier reads it again:")
    ended = _verifier(export, note, key)
    expect(f"The change is not noticed: {ended.stdout}", that=ended.returncode == 1)
    for line in f"{ended.stdout}{ended.stderr}".splitlines():
        show.bad(line)


def tell(registry: Registry) -> None:
    """Print the chain of the prefix, entry by entry."""
    subject = f"prefix:{PREFIX}"
    entries = list(_entries(registry, subject))
    query = {"subject": subject}
    verdict = accepted(registry.call("GET", "/v1/audit/verify", by="auditor", query=query))
    whole = verdict["valid"] is True and verdict["entries"] == len(entries)
    expect(f"The chain of {subject} does not verify: {verdict}.", that=whole)
    show.good(f"The chain of {subject} is valid: {len(entries)} entries.")
    show.timeline((entry["at"][11:19], entry["principal"], _sentence(entry)) for entry in entries)


def _exported(registry: Registry, name: str) -> bytes:
    return content(registry.call("GET", f"/v1/audit/{name}", by="auditor"))


def _verifier(export: Path, note: Path, key: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(_VERIFIER), str(export), "--key", key, "--checkpoint", str(note)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own


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
    shares = [
        f"version {share['version']} ({share['weight'] / 10_000:.0%})"
        for share in facts.get("allocation", [])
    ]
    words = {
        "served": ", ".join(shares) or "nothing",
        "short_digest": f"{facts.get('digest', '')[:19]}...",
        "damaged": ", ".join(map(str, facts.get("versions", []))),
    }
    # An action without a sentence is shown by its name.
    return _SENTENCES.get(entry["action"], entry["action"]).format(**facts, **words)
