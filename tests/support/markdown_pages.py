"""The project's Markdown pages, and what they name."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)


def text_of(name):
    return (ROOT / name).read_text()


def shown(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    """Return a page without its code blocks, in which nothing is a link or a heading."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def code_in(text):
    """Yield every span of code on a page, and every line of its code blocks."""
    for block in re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    yield from re.findall(r"`([^`]+)`", without_code(text))


def rows_after(marker, text):
    """Return the cells of the first table after a marker, without its head."""
    table = re.search(r"^(?:\|.*\n)+", text.split(marker, 1)[1], re.MULTILINE)[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
