"""`make bench`: starts all compared servers, measures them in turn and writes the results.

The whole run takes 15 to 30 minutes on two cores, `--quick` about three. `--only requests gate`
measures these sections only.
"""

import argparse
import dataclasses
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.server import stop_cleanly_on_signals
from benchmarks import report
from benchmarks.comparison import compared
from benchmarks.contents import contents
from benchmarks.gate import gate
from benchmarks.growth import growth
from benchmarks.mlflow import VARIANTS, Variant
from benchmarks.series import Section, measuring
from benchmarks.sizes import FULL, QUICK, Sizes

_COMPARISONS: Final = ("requests", "transfer", "journey", "watching", "footprint")
_SUBJECTS: Final = (*_COMPARISONS, "growth", "gate", "contents")
_GROWTH: Final = Section(
    "growth",
    "Growth",
    "Median latency on one connection. The rows are clones of rows that the registry wrote, loaded "
    "with COPY; PostgreSQL checked every key and reference.",
)
_GATE: Final = Section(
    "gate",
    "The gate over many samples",
    "A candidate and an incumbent with this many rows each, in 30 cells, compared pair by pair.",
)
_CONTENTS: Final = Section(
    "contents",
    "Contents",
    "The digest and the sketch are made in the scan that reads every number. Near copies are "
    "searched among contents of one base model whose norms are all within 1 %.",
)


def main() -> None:
    """Measure the chosen sections; fail if a plan scans a whole large table."""
    stop_cleanly_on_signals()  # also ends the started servers
    arguments = _arguments()
    start = time.perf_counter()
    sections: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as name:
        folder, only = Path(name), arguments.only
        folder.chmod(0o711)  # PostgreSQL's unprivileged user must be able to enter
        sizes: Sizes = arguments.sizes
        if set(only) & set(_COMPARISONS):
            sections += compared(folder, sizes, only, _variants(arguments))
        if "growth" in only:
            with measuring(_GROWTH, sections):
                growth(_GROWTH, folder / "growth", sizes=sizes.versions, seconds=sizes.seconds)
        if "gate" in only:
            with measuring(_GATE, sections):
                gate(_GATE, folder / "gate", sizes=sizes.rows)
        if "contents" in only:
            with measuring(_CONTENTS, sections):
                contents(_CONTENTS, folder / "contents", rows=sizes.contents)
    seconds = time.perf_counter() - start
    report.write(sections, arguments.out, arguments=shlex.join(sys.argv[1:]), seconds=seconds)
    print(f"Written to {arguments.out / 'RESULTS.md'} after {seconds:.0f} s.")
    if problems := [problem for section in sections for problem in section.problems]:
        sys.exit("\n".join(problems))


def _variants(arguments: argparse.Namespace) -> Sequence[Variant]:
    """Return the variants of MLflow; the quick run leaves out those that wait 40 ms a request."""
    if arguments.without_mlflow:
        return ()
    return [each for each in VARIANTS if not (each.trap and arguments.quick)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=_SUBJECTS, default=_SUBJECTS)
    parser.add_argument("--without-mlflow", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    for name, kind in (("versions", int), ("rows", int), ("transfers-mb", float)):
        parser.add_argument(f"--{name}", nargs="+", type=kind)
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    arguments.sizes = dataclasses.replace(
        sizes,
        versions=tuple(arguments.versions or sizes.versions),
        rows=tuple(arguments.rows or sizes.rows),
        transfers_mb=tuple(arguments.transfers_mb or sizes.transfers_mb),
    )
    return arguments


if __name__ == "__main__":
    main()
