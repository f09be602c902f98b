"""Rules of the style guide that no linter knows."""

import ast
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "app"
MODULES = sorted(APP.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 50

# Migrating works on a connection of the tables' owner, before there is anything to serve.
MIGRATING = {APP / "cli" / "migrate.py", APP / "local" / "mode.py"}
# What use cases open them with.
FACTORY = APP / "db" / "session.py"


def every_module(modules=MODULES):
    return pytest.mark.parametrize("path", modules, ids=lambda path: str(path.relative_to(APP)))


def use_cases_in(tree):
    """Return the names under which a module knows modules of `app.services`."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app.services.")
        for alias in node.names
    }


def transactions_in(tree):
    """Return the lines that begin or end a transaction; use cases may be called the same."""
    use_cases = use_cases_in(tree)
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"begin", "commit", "rollback"}
        and not (isinstance(node.value, ast.Name) and node.value.id in use_cases)
    ]


@every_module(
    [
        path
        for path in MODULES
        if APP / "services" not in path.parents and path not in {*MIGRATING, FACTORY}
    ]
)
def test_only_use_cases_open_transactions(path):
    assert transactions_in(ast.parse(path.read_text())) == []


@every_module()
def test_no_module_is_too_long_to_read(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@every_module()
def test_no_function_is_too_long_to_see(path):
    too_long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    }
    assert too_long == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("with sessions.begin() as s: ...", [1], id="begin"),
        pytest.param("session.commit()", [1], id="commit"),
        pytest.param(
            "from app.services.artifacts import uploads\nuploads.begin()", [], id="use-case"
        ),
        pytest.param("from app.db import uploads\nuploads.begin()", [2], id="query"),
    ],
)
def test_the_rule_on_transactions_finds_what_it_should(text, lines):
    assert transactions_in(ast.parse(text)) == lines
