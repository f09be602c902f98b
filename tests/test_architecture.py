"""Rules of the style guide that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "app"
LONGEST_FILE = 400
LONGEST_FUNCTION = 50

# Migrating works on a connection of the tables' owner, before there is anything to serve.
MIGRATING = {APP / "cli" / "setup.py", APP / "local" / "mode.py"}
# What use cases open them with.
FACTORY = APP / "db" / "session.py"


@pytest.fixture(scope="module")
def texts():
    """The text of every module of the application, by its path."""
    texts = {path: path.read_text() for path in sorted(APP.rglob("*.py"))}
    assert len(texts) > 200
    return texts


@pytest.fixture(scope="module")
def trees(texts):
    return {path: ast.parse(text) for path, text in texts.items()}


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


def offenders(found):
    """Return what is wrong by module, without the modules in which nothing is."""
    return {str(path.relative_to(APP)): wrong for path, wrong in found.items() if wrong}


def test_only_use_cases_open_transactions(trees):
    others = {
        path: tree
        for path, tree in trees.items()
        if APP / "services" not in path.parents and path not in {*MIGRATING, FACTORY}
    }
    assert offenders({path: transactions_in(tree) for path, tree in others.items()}) == {}


def test_only_the_gateway_begins_and_seals(texts):
    """Authority, time and the demand for an entry hold only if nothing goes round them."""
    going_round = re.compile(r"\b(?:sessions|_outside)\.begin\(|\baudit\.(?:append|lock_chain)\(")
    found = {path: going_round.findall(text) for path, text in texts.items()}
    assert offenders(found).keys() == {"services/idempotency.py", "services/transactions.py"}


def store_calls_in(tree):
    """Return the lines that use the store while a connection of the database is held.

    A store that hangs would otherwise take the whole pool with it.
    """
    return sorted(
        {
            used.lineno
            for block in ast.walk(tree)
            if isinstance(block, ast.With) and any(map(holds_connection, block.items))
            for statement in block.body
            for used in ast.walk(statement)
            if isinstance(used, ast.Name | ast.Attribute)
            and getattr(used, "id", getattr(used, "attr", "")) in {"blobs", "staging"}
        }
    )


def holds_connection(item):
    """Whether a context is a transaction or a session."""
    call = item.context_expr
    if not isinstance(call, ast.Call):
        return False
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    opens = {"begin", "begin_unaudited", "read", "_opened", "sessions", "_outside"}
    if name == "read" and isinstance(call.func, ast.Attribute):
        return getattr(call.func.value, "id", "") == "transactions"
    return name in opens


def test_no_use_case_calls_the_store_while_it_holds_a_connection(trees):
    services = {path: tree for path, tree in trees.items() if APP / "services" in path.parents}
    assert offenders({path: store_calls_in(tree) for path, tree in services.items()}) == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("with transactions.begin('x', y) as t:\n  blobs.delete(d)", [2]),
        ("with transactions.begin_unaudited('x', y) as t:\n  if a:\n    f(blobs)", [3]),
        ("with transactions.read() as s:\n  parts.staging.begin(k)", [2]),
        ("with sessions() as s:\n  f(s, blobs)", [2]),
        ("with submission.read(suite):\n  f(blobs)", []),
        ("with blobs.open(d) as chunks:\n  f(chunks)", []),
    ],
)
def test_the_rule_on_the_store_finds_what_it_should(text, lines):
    assert store_calls_in(ast.parse(text)) == lines


def test_no_module_is_too_long_to_read(texts):
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    too_long = {path: length for path, length in lengths.items() if length > LONGEST_FILE}
    assert offenders(too_long) == {}


def test_no_function_is_too_long_to_see(trees):
    assert offenders({path: long_functions_in(tree) for path, tree in trees.items()}) == {}


def long_functions_in(tree):
    """Return name and length of every function that is too long."""
    lengths = [
        (node.name, node.end_lineno - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [(name, length) for name, length in lengths if length > LONGEST_FUNCTION]


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
