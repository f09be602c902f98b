"""docs/security.md: a test exists for everything that an attacker cannot do."""

import ast
import re
from pathlib import Path

from app.domain.identity.tokens import is_token, new_token

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))


def names_of_tests():
    return {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_the_page_names_tests():
    assert len(NAMED) > 40


def test_every_named_test_exists():
    assert NAMED - names_of_tests() == set()


def test_the_pattern_for_scanners_finds_every_token_and_nothing_near_it():
    (pattern,) = re.findall(r"```\n(.*prg_.*)\n```", PAGE)
    token = new_token()

    found = re.findall(pattern, f"TOKEN={token}; prg_short {token}x x{token} {token[:-1]}")

    assert found == [token]
    assert is_token(token)
