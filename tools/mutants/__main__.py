"""`make mutants`: sample mutations, try them, and fail on a survivor that is not accepted."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tools.mutants import accepted
from tools.mutants.changes import changed_lines, touches
from tools.mutants.fork_server import ForkServer
from tools.mutants.jobs import Status
from tools.mutants.mutation import Identity, Mutation
from tools.mutants.nearest import Table, broad_tests, nearest_tests, rooms_tests
from tools.mutants.operators import mutations_of
from tools.mutants.report import report
from tools.mutants.sampler import sample
from tools.mutants.stages import (
    NotCleanError,
    Verdict,
    by_status,
    first_stage,
    second_stage,
)
from tools.mutants.tree import copied

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_TABLE: Final = Path("tests/mutants/nearest.toml")
_ACCEPTED: Final = Path("tests/mutants/accepted.txt")


def main(arguments: Sequence[str], *, root: Path = _REPOSITORY) -> int:
    """Try a sample of mutations; return 1 if one that is not accepted survives."""
    options = _options(arguments)
    begun = time.monotonic()
    texts = modules(root)
    entries = accepted.read(root / _ACCEPTED)
    mutations = _sample(root, options, texts, {entry.identity for entry in entries})
    _say(f"{len(mutations)} mutations, seed {options.seed}.")
    try:
        with _server(root, options.jobs) as server:
            verdicts = _tried(server, mutations, only_rooms=options.changed is not None)
    except NotCleanError as error:
        sys.exit(str(error))
    stale = accepted.stale(entries, texts)
    _say("\n".join(report(verdicts, texts, stale)))
    _say(f"{(time.monotonic() - begun) / 60:.1f} minutes.")
    found = by_status(verdicts)
    return 1 if found[Status.SURVIVED] or found[Status.BROKEN] or stale else 0


def modules(root: Path) -> dict[str, str]:
    """Return the texts of the application's modules by path."""
    files = sorted((root / "app").rglob("*.py"))
    return {str(file.relative_to(root)): file.read_text() for file in files}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=main.__doc__)
    parser.add_argument("--count", type=int, default=400, help="how many mutations to try")
    parser.add_argument("--seed", required=True, help="draws the sample")
    parser.add_argument("--changed", help="only lines changed since this revision")
    parser.add_argument("--only", default="app/", help="only modules whose path begins so")
    parser.add_argument("--jobs", type=int, default=1, help="how many to try at a time")
    return parser.parse_args(arguments)


def _sample(
    root: Path, options: argparse.Namespace, texts: Mapping[str, str], known: set[Identity]
) -> list[Mutation]:
    changed = None if options.changed is None else changed_lines(root, options.changed)
    candidates = [
        mutation
        for path, text in texts.items()
        if path.startswith(options.only) and (changed is None or path in changed)
        for mutation in mutations_of(path, text)
        if changed is None or touches(mutation, changed)
    ]
    return sample(candidates, count=options.count, seed=options.seed, accepted=known, texts=texts)


def _tried(server: ForkServer, mutations: Sequence[Mutation], *, only_rooms: bool) -> list[Verdict]:
    root = server.root  # a copy: files that are added during the run are not in it
    table = Table.read(root / _TABLE)
    nearest = {each: nearest_tests(root, each.path, table) for each in mutations}
    verdicts = first_stage(server, nearest, table.races, _say)
    survivors = [each.mutation for each in verdicts if each.status is Status.SURVIVED]
    rooms = [each.path for each in survivors]
    broad = rooms_tests(root, rooms, table) if only_rooms else broad_tests(root, table)
    settled = {each.mutation: each for each in verdicts}
    for verdict in second_stage(server, survivors, broad, table.races, _say):
        if verdict.status is not Status.SURVIVED:
            settled[verdict.mutation] = verdict
    return [settled[each] for each in mutations]


@contextmanager
def _server(root: Path, jobs: int) -> Iterator[ForkServer]:
    """Run stores and a fork server out of a folder that is gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
        trees = [copied(root, folder / f"tree-{number}") for number in range(jobs)]
        (folder / "runs").mkdir()
        environment = stack.enter_context(_offered_stores())
        yield ForkServer(trees, folder / "runs", environment)


@contextmanager
def _offered_stores() -> Iterator[Mapping[str, str]]:
    """Offer stores from another process, and yield the environment by which tests find them."""
    command = [sys.executable, "-m", "tools.mutants.offer_stores"]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        environment = process.stdout.readline() if process.stdout else ""
        try:
            yield json.loads(environment)
        finally:
            process.communicate()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    # A run that is stopped ends its child, its stores and its folder too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
