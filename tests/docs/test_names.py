"""What the pages name exists: modules, rings, tables, targets of make, commands, log lines."""

import ast
import re
import tomllib

from app import cli
from app.db.models.base import Base
from tests.support.markdown_pages import PAGES, ROOT, code_in, rows_after, shown, text_of

ARCHITECTURE = text_of("docs/concepts/architecture.md")
OPERATIONS = text_of("docs/guides/operations.md")
COMMANDS = set(cli._cli.commands)
TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", text_of("Makefile"), re.MULTILINE))
PATH = re.compile(
    r"(?<![\w./-])(?:app|tests|tools|benchmarks|demo|migrations|docker|docs)/[\w./-]*"
)
# The name of a connection, as PostgreSQL lists it.
NO_COMMANDS = {"listener"}


def named(pattern):
    """Yield each page and what its code names."""
    for path in PAGES:
        for code in code_in(path.read_text()):
            for found in re.findall(pattern, code):
                yield shown(path), found


def test_files_and_folders_exist():
    missing = [(page, path) for page, path in named(PATH) if not (ROOT / path).exists()]
    assert missing == []


def test_targets_of_make_exist():
    assert {"demo", "test", "serve"} <= TARGETS
    assert [each for each in named(r"\bmake ([a-z-]+)") if each[1] not in TARGETS] == []


def test_commands_exist():
    assert {"serve", "token"} <= COMMANDS
    known = COMMANDS | NO_COMMANDS
    calls = list(named(r"prefix-registry ([a-z][a-z-]*)"))
    assert [each for each in calls if each[1] not in known] == []


def test_the_line_of_the_rings_is_the_contract_of_the_imports():
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    [layers] = [each["layers"] for each in contracts if each["type"] == "layers"]
    line = " → ".join(f"{{ {each} }}" if " | " in each else each for each in layers)
    assert f"\n```\n{line}\n```\n" in ARCHITECTURE


def test_every_ring_and_no_other_is_described():
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    [layers] = [each["layers"] for each in contracts if each["type"] == "layers"]
    rings = {name for layer in layers for name in layer.split(" | ")}
    rows = rows_after("## The rings", ARCHITECTURE)
    described = {name for row in rows for name in re.findall(r"`app/(\w+)(?:/|\.py)`", row[0])}
    assert described == rings


def test_every_table_and_no_other_is_described():
    rows = rows_after("## The tables", ARCHITECTURE)
    described = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(described) == sorted(Base.metadata.tables)


def test_log_lines_are_written_by_the_code():
    messages = "\n".join(
        node.value
        for path in (ROOT / "app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    lines = [row[0].strip("`") for row in rows_after("## Log lines", OPERATIONS)]
    assert lines
    assert [line for line in lines if line not in messages] == []


def test_the_output_shown_to_auditors_is_that_of_the_verifier():
    page, verifier = text_of("docs/concepts/audit.md"), text_of("tools/verify_audit.py")
    for sentence in (
        "chains are as sealed.",
        "covers was removed or changed.",
        "is not what was sealed: its hash differs (line ",
        "was signed for other leaves",
    ):
        assert sentence in page
        assert sentence in verifier


def test_endpoints_that_metrics_are_measured_under_exist():
    names = [name for _, name in named(r"\bapi\.(\w+\.\w+)\b")]
    assert names
    for name in names:
        module, _, function = name.partition(".")
        assert re.search(
            rf"^(async )?def {function}\(", text_of(f"app/api/{module}.py"), re.MULTILINE
        )


def test_the_glossary_is_sorted_and_gives_a_word_one_meaning():
    words = [row[0] for row in rows_after("# Glossary", text_of("docs/concepts/glossary.md"))]
    assert words == sorted(set(words))
    assert {
        *("cell", "finding", "generation", "allocation", "subject", "incumbent", "control run"),
        *("evidence digest", "federated identity", "cache lease", "recall", "result", "answer"),
        "facts",
    } <= set(words)
