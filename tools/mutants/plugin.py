"""The plugin of pytest in a child: reports what happens while it happens.

Only a child imports this module, after the fork.
"""

import json
import sys
import sysconfig
from pathlib import Path
from typing import IO

import pytest


class Reporter:
    """Reports each test as it begins and each failure, so that even a killed child has said it.

    The last message is the session's exit status. What pytest collects after that, such as
    connections that a thread had not closed yet, says nothing about a mutation.
    """

    def __init__(self, report: IO[bytes], *, reports_imports: bool) -> None:
        self._report = report
        self._reports_imports = reports_imports

    def _send(self, **message: object) -> None:
        self._report.write(json.dumps(message).encode() + b"\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._send(began=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._send(took=report.duration, test=report.nodeid)
        if report.failed:
            self._send(failed=report.nodeid)
        elif report.when == "call" and report.passed:
            self._send(passed=report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._send(failed=report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self._reports_imports:
            self._send(modules=_libraries())
        self._send(ended=int(exitstatus))


def run(options: list[str], report: IO[bytes], *, reports_imports: bool) -> None:
    """Run pytest and report what happens as lines of JSON.

    Args:
        options: pytest's, with the paths of the tests.
        report: Takes the lines.
        reports_imports: Whether to report which libraries were imported.
    """
    reporter = Reporter(report, reports_imports=reports_imports)
    code = pytest.main(options, plugins=[reporter])
    reporter.pytest_sessionfinish(int(code))  # a session that never began has not ended either


def _libraries() -> list[str]:
    """Return the imported modules that are Python's own or were installed."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    return [
        name
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None)) is not None
        and any(Path(file).is_relative_to(folder) for folder in folders)
    ]
