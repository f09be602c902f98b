"""The plans that PostgreSQL used for a request, from the server's log (auto_explain)."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.local.postgres import PostgresServer

# No request may scan a whole table with more rows. Below, a scan costs about as much as the fifty
# index look-ups of a page, and either is a good plan.
LARGE_ROWS: Final = 50_000

_QUIET_S: Final = 5.0  # more than two rounds of the background tasks

_SETTINGS: Final = """
# Log every statement's plan with the actual row counts.
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_timing = off
auto_explain.log_format = json
auto_explain.log_parameter_max_length = 0
"""
_LOGGED: Final = re.compile(r"duration: ([0-9.]+) ms  plan:\n((?:\t.*\n)+)")

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How one statement was executed."""

    statement: str
    root: Node
    milliseconds: float

    def nodes(self) -> Iterator[Node]:
        pending = [self.root]
        while pending:
            node = pending.pop()
            yield node
            pending += node.get("Plans", [])

    def sequentially_scanned(self) -> set[str]:
        """Return the tables of sequential scans that read more rows of a larger table.

        A scan without a filter that stops at a limit, as of a bounded count, does not.
        """
        scans = [node for node in self.nodes() if node["Node Type"] == "Seq Scan"]
        searched = [node for node in scans if "Filter" in node or _read(node) > LARGE_ROWS]
        return {str(node["Relation Name"]) for node in searched}

    def most_read(self) -> int:
        """Return the most rows that one scan read, discarded rows included."""
        return max(int(_read(node)) for node in self.nodes())

    def outline(self) -> list[str]:
        """Return a line per node: its type, its target, and the rows it returned and discarded."""
        return list(_outline(self.root, 0))


class PlanLog:
    """The logged plans of the statements of a call."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._background: set[str] = set()

    def exclude_background_statements(self) -> None:
        """Record the statements of an idle registry, to exclude them from later results.

        Background tasks renew leases and process due promotions during requests as well, the more
        often the longer a request takes. That is not work of the request.
        """
        self._background |= {plan.statement for plan in self.of(lambda: time.sleep(_QUIET_S))}

    def of(self, run: Callable[[], object]) -> list[Plan]:
        """Return the plans of the statements that the server executed for `run`."""
        start = self._log.stat().st_size
        run()
        with self._log.open("rb") as file:
            file.seek(start)
            text = file.read().decode(errors="replace")
        plans = [_plan(*found) for found in _LOGGED.findall(text)]
        return [plan for plan in plans if plan.statement not in self._background]


def logging_plans(postgres: PostgresServer) -> PlanLog:
    """Make every new session log its plans, until the server ends.

    Only a superuser may set this, and no superuser can log in; the configuration file is writable.
    """
    cluster = postgres.cluster
    with (cluster / "postgresql.conf").open("a") as file:
        file.write(_SETTINGS)
    postmaster = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    os.kill(postmaster, signal.SIGHUP)
    return PlanLog(cluster.parent / "server.log")


def _plan(milliseconds: str, text: str) -> Plan:
    document = json.loads(text)
    statement = " ".join(document["Query Text"].split())
    return Plan(statement, document["Plan"], float(milliseconds))


def _read(node: Node) -> float:
    rows = node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)
    return float(rows * node.get("Actual Loops", 0)) if "Scan" in node["Node Type"] else 0.0


def _outline(node: Node, depth: int) -> Iterator[str]:
    target = node.get("Index Name") or node.get("Relation Name") or ""
    removed = node.get("Rows Removed by Filter", 0)
    discarded = f", {removed:g} discarded" if removed else ""
    rows = f"{node.get('Actual Rows', 0):g} rows x {node.get('Actual Loops', 0):g}{discarded}"
    yield f"{'  ' * depth}{node['Node Type']} {target}".rstrip() + f" ({rows})"
    for child in node.get("Plans", []):
        yield from _outline(child, depth + 1)
