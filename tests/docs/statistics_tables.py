"""The tables of docs/concepts/statistics.md."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "concepts" / "statistics.md"


def percent(probability):
    return f"{100 * probability:.2f} %"


def rows(name):
    """Return the body rows of the table that follows `<!-- table: name -->`."""
    block = DOCUMENT.read_text().split(f"<!-- table: {name} -->", 1)[1].strip()
    lines = re.match(r"(\|.*\n)+", block + "\n").group().splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
