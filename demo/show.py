"""What the demo prints: coloured in a terminal, plain anywhere else."""

import itertools
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich import box
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from demo.client import Document
from demo.samples import Cell

_PLAIN_WIDTH: Final = 200
_MESSAGE_WIDTH: Final = 150  # narrower terminals show the messages below the table
_STYLES: Final = {"passed": "green", "failed": "bold red", "missing": "bold red"}
_SIGNS: Final = {"at_least": "≥ ", "at_most": "≤ "}

_console: Final = Console(
    highlight=False, markup=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH
)
_steps: Final = itertools.count(1)


def step(title: str) -> None:
    _console.print()
    _console.print(f"{next(_steps)}  {title}", style="bold cyan")


def say(sentence: str) -> None:
    _console.print(_indented(sentence))


def good(sentence: str) -> None:
    """Say what was to be shown, and was."""
    _console.print(_indented(Text(sentence, "green")))


def refusal(problem: Document) -> None:
    """Say how the registry refused."""
    code = problem["type"].rpartition("/")[2]
    refused = Text(f"REFUSED {problem['status']} {code}: ", "bold red")
    _console.print(_indented(refused.append(f"{problem['title']}.", "not bold default")))


def failure(sentence: str) -> None:
    _console.print()
    _console.print(Text("The demo failed. ", "bold red") + Text(sentence))


def close(sentence: str) -> None:
    _console.print(sentence, style="bold")


def answers(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print questions with the answer of the base model and that with the prefix."""
    _print_rows(_table("question", "the base alone", "with the prefix"), rows)


def cells(before: Sequence[Cell], after: Sequence[Cell]) -> None:
    """Print what was measured on the base model alone and with the prefix, cell by cell."""
    numbers = ("n", "base tone", "prefix tone", "base toxicity", "prefix toxicity")
    _print_rows(
        _table("persona", "locale", *numbers, numbers=numbers),
        (_measured(base, tuned) for base, tuned in zip(before, after, strict=True)),
    )


def _measured(base: Cell, tuned: Cell) -> list[str]:
    counts = (base.in_tone, tuned.in_tone, base.toxic, tuned.toxic)
    shares = [f"{count / tuned.samples:.3f}" for count in counts]
    return [tuned.persona, tuned.locale, str(tuned.samples), *shares]


def findings(found: Sequence[Document]) -> None:
    """Print what the gate found on artifact and card, then what in each cell of the evidence."""
    facts = [finding for finding in found if finding["cell"] is None]
    told = ([each["rule"], _outcome(each), each["message"]] for each in facts)
    _print_rows(_table("rule", "outcome", "message"), told)
    cells = [finding for finding in found if finding["cell"] is not None]
    wide = _console.width >= _MESSAGE_WIDTH
    numbers = ("observed", "bound", "demanded", "n")
    names = ("rule", "persona", "locale", *numbers, "outcome", *(["message"] if wide else []))
    _print_rows(_table(*names, numbers=numbers), (_cell(each, wide=wide) for each in cells))
    if not wide:
        _console.print()
        for finding in cells:
            if finding["outcome"] != "passed":
                say(finding["message"])


def timeline(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print when who did what."""
    _print_rows(_table("time (UTC)", "who", "what"), rows)
    _console.print()


def _cell(finding: Document, *, wide: bool) -> list[str | Text]:
    return [
        finding["rule"],
        finding["cell"]["persona"],
        finding["cell"]["locale"],
        _number(finding["observed"]),
        _number(finding["bound"]),
        _SIGNS.get(finding["demand"], "") + _number(finding["demanded"]),
        _number(finding["samples"]),
        _outcome(finding),
        *([finding["message"]] if wide else []),
    ]


def _outcome(finding: Document) -> Text:
    return Text(finding["outcome"], _STYLES.get(finding["outcome"], "yellow"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


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
