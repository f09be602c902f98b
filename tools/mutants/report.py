"""What a run found, for people: survivors with their difference, time-outs, and a table."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import dedent

from tools.mutants.accepted import Accepted, written
from tools.mutants.jobs import Status
from tools.mutants.mutation import Family, Mutation, edited
from tools.mutants.stages import Verdict, by_status


def report(
    verdicts: Sequence[Verdict], texts: Mapping[str, str], stale: Sequence[Accepted]
) -> Iterator[str]:
    """Yield the lines of a report."""
    found = by_status(verdicts)
    for verdict in found[Status.SURVIVED]:
        yield from _survivor(verdict, texts[verdict.mutation.path])
    for verdict in found[Status.TIMED_OUT]:
        yield from _endless(verdict)
    for verdict in found[Status.BROKEN]:
        yield f"not judged: {_place(verdict.mutation)}: {verdict.mutation.old}"
    for entry in stale:
        yield f"stale: no code has the accepted change {' :: '.join(entry.identity)}"
    yield from _table(verdicts)
    counts = ", ".join(f"{len(found[status])} {status}" for status in Status)
    yield f"{len(verdicts)} mutations: {counts}."


def _endless(verdict: Verdict) -> Iterator[str]:
    mutation = verdict.mutation
    yield f"timed out: {_place(mutation)}: {mutation.old}"
    by = verdict.by or "a file of tests"
    yield f"  Noticed: {by} did not end, so the suite would not either."


def _place(mutation: Mutation) -> str:
    return f"{mutation.path}:{mutation.line} {mutation.operator}"


def _survivor(verdict: Verdict, text: str) -> Iterator[str]:
    mutation = verdict.mutation
    yield f"survived: {_place(mutation)}"
    yield from (f"  {line}" for line in difference(text, mutation))
    yield f"  No test proves: {mutation.sentence}"
    if verdict.by_chance:
        yield f"  {verdict.by} noticed it once, but not each time."
    yield "  Write that test, or accept the change with a reason in tests/mutants/accepted.txt:"
    yield from (f"    {line}" for line in written(mutation, "REASON").splitlines())
    yield ""


def difference(text: str, mutation: Mutation) -> list[str]:
    """Return the lines that a mutation removes and adds, without what they have in common."""
    before, after = text.splitlines(), edited(text, [mutation.edit]).splitlines()
    lines = difflib.unified_diff(before, after, n=0, lineterm="")
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    signs, bodies = [line[0] for line in changed], "\n".join(line[1:] for line in changed)
    return [sign + line for sign, line in zip(signs, dedent(bodies).split("\n"), strict=True)]


def _table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    tried = Counter(verdict.mutation.family for verdict in verdicts)
    survived = Counter(v.mutation.family for v in verdicts if v.status is Status.SURVIVED)
    for family in Family:
        if tried[family]:
            yield f"  {family:<12} {tried[family]:4} tried {survived[family]:4} survived"
