"""Prints the demo: coloured in a terminal, plain anywhere else."""

import itertools
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from rich import box
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from demo.client import Document
from demo.samples import Cell

_PLAIN_WIDTH: Final = 200
_LONG_S: Final = 2
_STYLES: Final = {"passed": "green", "failed": "bold red", "missing": "bold red"}
_SIGNS: Final = {"at_least": "≥ ", "at_most": "≤ ", "incumbent": "≥ "}
_MEASURED: Final = {"incumbent": "difference"}

_console: Final = Console(
    highlight=False, markup=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH
)
_acts: Final = itertools.count(1)


class Served(NamedTuple):
    """The traffic of a channel after a move, and the answers to a fleet that resolves it."""

    after: str
    generation: int
    allocation: str
    answers: str


@contextmanager
def act(title: str) -> Iterator[None]:
    """Print a heading, and at the end of the block how long it took, if that was long."""
    _console.print()
    _console.print(f"{next(_acts)}  {title}", style="bold cyan")
    started = time.monotonic()
    yield
    if (took := time.monotonic() - started) >= _LONG_S:
        _console.print(_indented(Text(f"({took:.0f} s)", "dim")))


def say(sentence: str) -> None:
    _console.print(_indented(sentence))


def good(sentence: str) -> None:
    """Print a sentence on a fact that was checked."""
    _console.print(_indented(Text(sentence, "green")))


def bad(sentence: str) -> None:
    """Print a sentence on a fault that was found."""
    _console.print(_indented(Text(sentence, "bold red")))


def refusal(problem: Document, *, detail: bool = False) -> None:
    """Print how the registry refused, by title or in detail."""
    code = problem["type"].rpartition("/")[2]
    refused = Text(f"REFUSED {problem['status']} {code}: ", "bold red")
    sentence = problem["detail"] if detail else f"{problem['title']}."
    _console.print(_indented(refused.append(sentence, "not bold default")))


def failure(sentence: str) -> None:
    _console.print()
    _console.print(Text("The demo failed. ", "bold red") + Text(sentence))


def close(sentence: str) -> None:
    _console.print()
    _console.print(sentence, style="bold", soft_wrap=True)


def line(text: str) -> None:
    """Print an address or a command whole, to be copied."""
    _console.print(f"      {text}", soft_wrap=True)


def answers(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print questions with the answer of the base model and that with the prefix."""
    _print_rows(_table("question", "the base alone", "with the prefix"), rows)


def cells(before: Sequence[Cell], after: Sequence[Cell]) -> None:
    """Print the shares measured on the base model alone and with the prefix, cell by cell."""
    numbers = ("n", "base tone", "prefix tone", "base toxicity", "prefix toxicity")
    _print_rows(
        _table("persona", "locale", *numbers, numbers=numbers),
        (_measured(base, tuned) for base, tuned in zip(before, after, strict=True)),
    )


def _measured(base: Cell, tuned: Cell) -> list[str]:
    counts = (base.in_tone, tuned.in_tone, base.toxic, tuned.toxic)
    shares = [f"{count / tuned.samples:.3f}" for count in counts]
    return [tuned.persona, tuned.locale, str(tuned.samples), *shares]


def findings(found: Sequence[Document], rule: str, demand: str) -> None:
    """Print one demand of a rule cell by cell, and the gate's other findings counted."""
    numbers = (_MEASURED.get(demand, "measured"), "bound", "demanded", "n")
    table = _table(rule, "locale", *numbers, "outcome", numbers=numbers)
    shown = [each for each in found if (each["rule"], each["demand"]) == (rule, demand)]
    _print_rows(table, map(_cell, shown))
    others: dict[str, Counter[str]] = {}
    for each in found:
        if each not in shown:
            name = "artifact and card" if each["cell"] is None else _named(each)
            others.setdefault(name, Counter())[each["outcome"]] += 1
    for name, outcomes in others.items():
        counted = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
        say(f"{name}: {counted}")


def served(rows: Iterable[Served]) -> None:
    """Print moves of a channel, with its traffic and the fleet's answers after each."""
    names = ("after", "generation", "traffic", "100 users resolve")
    shown = ((row.after, str(row.generation), row.allocation, row.answers) for row in rows)
    _print_rows(_table(*names, numbers=("generation",)), shown)


def timeline(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print times, people and their deeds."""
    _print_rows(_table("time (UTC)", "who", "what"), rows)


def _cell(finding: Document) -> list[str | Text]:
    return [
        finding["cell"]["persona"],
        finding["cell"]["locale"],
        _number(finding["observed"]),
        _number(finding["bound"]),
        f"{_SIGNS[finding['demand']]}{finding['demanded']:g}",
        str(finding["samples"] or ""),
        _outcome(finding),
    ]


def _named(finding: Document) -> str:
    return f"{finding['rule']} {finding['demand'].replace('_', ' ')}"


def _outcome(finding: Document) -> Text:
    return Text(finding["outcome"], _STYLES.get(finding["outcome"], "yellow"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _indented(sentence: str | Text) -> Padding:
    return Padding(sentence, (0, 0, 0, 3), expand=False)


def _table(*names: str, numbers: Collection[str] = ()) -> Table:
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for at, name in enumerate(names):
        justify: JustifyMethod = "right" if name in numbers else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=0 < at < len(names) - 1)
    return table


def _print_rows(table: Table, rows: Iterable[Iterable[str | Text]]) -> None:
    for row in rows:
        table.add_row(*row)
    _console.print()
    _console.print(Padding(table, (0, 0, 0, 1), expand=False))
    _console.print()
