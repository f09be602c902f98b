"""A forked child: it enters the copy of the repository, runs pytest there and ends."""

import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, NoReturn

from tools.mutants.jobs import Job
from tools.mutants.tree import Tree

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_OPTIONS: Final = (
    *("-q", "--assert=plain", "--hypothesis-seed=0"),
    *("-p", "no:randomly", "-p", "no:cacheprovider"),
)


def run_and_exit(
    job: Job, tree: Tree, pipe: int, folder: Path, environment: Mapping[str, str]
) -> NoReturn:
    """Run a job's tests in this process, report to the pipe, and end the process.

    Args:
        job: The tests.
        tree: The copy of the repository, with the job's mutations.
        pipe: Takes the report.
        folder: For the output and for temporary files.
        environment: Variables by which the tests find their stores.
    """
    gc.disable()  # the tests' own set-up enables it once everything is imported
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        _redirect(folder / "output")
        os.environ.update(environment)
        _enter(tree)
        with os.fdopen(pipe, "wb", buffering=0) as report:
            _run(job, tree, folder, report)
    except BaseException:  # noqa: BLE001 - the parent shows the output of a child that failed
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _redirect(output: Path) -> None:
    log = os.open(output, os.O_WRONLY | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def _enter(tree: Tree) -> None:
    """Make the copy the place from which this process and those that it starts import."""
    os.chdir(tree.root)
    others = [each for each in sys.path if Path(each or ".").resolve() != _REPOSITORY]
    sys.path[:] = [str(tree.root), *others]
    importlib.invalidate_caches()
    os.environ["PYTHONPATH"] = str(tree.root)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _run(job: Job, tree: Tree, folder: Path, report: IO[bytes]) -> None:
    from tools.mutants import plugin  # noqa: PLC0415 - the parent goes without pytest

    folders = ("--rootdir", str(tree.root), "--basetemp", str(folder / "temporary"))
    extent = "-x" if job.stops_at_first else "--continue-on-collection-errors"
    options = [*_OPTIONS, *folders, extent, *job.tests]
    plugin.run(options, report, reports_imports=job.learns_imports)
