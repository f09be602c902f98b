"""The plans that PostgreSQL really used for a request, told by the server itself (auto_explain)."""

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

# A table with more rows is never to be read from end to end for one request. Below, reading it
# costs about what a page's fifty look-ups by index do, and the planner rightly chooses either.
LARGE_ROWS: Final = 50_000

_QUIET_S: Final = 5.0  # two rounds of whatever a registry does by itself, and more

_SETTINGS: Final = """
# Every statement's plan goes to the log, with the rows that were really read.
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

    def scanned_whole(self) -> set[str]:
        """Return the tables that were read in no order, until enough was found or to the end.

        What takes rows as they come and stops, as a count up to a limit, reads no more of a
        larger table.
        """
        scans = [node for node in self.nodes() if node["Node Type"] == "Seq Scan"]
        searched = [node for node in scans if "Filter" in node or _read(node) > LARGE_ROWS]
        return {str(node["Relation Name"]) for node in searched}

    def most_read(self) -> int:
        """Return the most rows that one scan read, also those it threw away."""
        return max(int(_read(node)) for node in self.nodes())

    def outline(self) -> list[str]:
        """Return a line per node: what it is, on what, and the rows it gave and threw away."""
        return list(_outline(self.root, 0))


class PlanLog:
    """Reads the plans of what is done while it is asked."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._unasked: set[str] = set()

    def leave_out_chores(self) -> None:
        """Learn what a served registry sends while nobody asks it for anything.

        Leases are renewed and promotions settled also while a request is answered, the more often
        the longer it takes; that is no work of the request.
        """
        self._unasked |= {plan.statement for plan in self.of(lambda: time.sleep(_QUIET_S))}

    def of(self, run: Callable[[], object]) -> list[Plan]:
        """Return the plans of the statements that `run` made the server execute."""
        start = self._log.stat().st_size
        run()
        with self._log.open("rb") as file:
            file.seek(start)
            text = file.read().decode(errors="replace")
        plans = [_plan(*found) for found in _LOGGED.findall(text)]
        return [plan for plan in plans if plan.statement not in self._unasked]


def logging_plans(postgres: PostgresServer) -> PlanLog:
    """Let every session that begins from now on log its plans; for the rest of the server's life.

    Only a superuser may set this, and nobody can log in as one; the folder is ours, though.
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
    thrown = f", {removed:g} thrown away" if removed else ""
    rows = f"{node.get('Actual Rows', 0):g} rows x {node.get('Actual Loops', 0):g}{thrown}"
    yield f"{'  ' * depth}{node['Node Type']} {target}".rstrip() + f" ({rows})"
    for child in node.get("Plans", []):
        yield from _outline(child, depth + 1)
