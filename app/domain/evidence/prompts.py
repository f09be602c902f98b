"""Prompts of open suites: one prompt is evidence about one persona and locale only."""

from collections.abc import Iterable, Iterator

from app.domain.errors import Fault
from app.domain.evidence.manifests import CellName
from app.domain.evidence.rows import FAULT_LIMIT, parsed_row, prompt_cluster
from app.domain.evidence.samples import SampleSet


def prompts_in_two_cells(samples: SampleSet) -> set[int]:
    """Return the clusters of prompts that occur for two personas or for two locales."""
    clusters: dict[CellName, set[int]] = {}
    for key, column in samples.scores.items():
        clusters.setdefault((key.persona, key.locale), set()).update(column.clusters)
    seen: set[int] = set()
    shared: set[int] = set()
    for found in clusters.values():
        shared |= seen & found
        seen |= found
    return shared


def prompt_faults(lines: Iterable[bytes], shared: set[int]) -> Iterator[Fault]:
    """Yield the first faults for the prompts in `shared`, with the names of two samples of each."""
    first: dict[int, tuple[str, CellName]] = {}
    named: set[int] = set()
    for line in lines:
        row, _ = parsed_row(line)
        cluster = None if row is None else prompt_cluster(str(row.get("prompt_sha256")))
        if row is None or cluster not in shared or cluster in named:
            continue
        identity, cell = f"{str(row['id'])[:80]!r}", (str(row["persona"]), str(row["locale"]))
        other, before = first.setdefault(cluster, (identity, cell))
        if before == cell:
            continue
        named.add(cluster)
        yield Fault(
            "prompt-in-two-cells",
            f"The samples {other} of {'/'.join(before)} and {identity} of {'/'.join(cell)} have "
            "the same prompt_sha256. Hash the whole input, with the persona's system prompt, or "
            "seal the suite.",
        )
        if len(named) >= FAULT_LIMIT:
            return
