"""The project's Markdown pages: what they name, and running their shell blocks."""

import re
import subprocess
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


def shell_blocks(page):
    """Return the text of all ```sh blocks of a page."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


def run_in_shell(script, *, folder):
    """Run a script until its first failure; return its output and errors."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
