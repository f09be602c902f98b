"""Each operator gives the edits that it should, and none elsewhere."""

import ast
from textwrap import dedent

import pytest

from tools.mutants.mutation import Family, edited
from tools.mutants.operators import mutations_of


def changes(code, operator):
    """Return the new text of each line that an operator changes, in a function or a module."""
    text = dedent(code)
    found = []
    for mutation in mutations_of("app/small.py", text):
        if mutation.operator == operator:
            before, after = text.splitlines(), edited(text, [mutation.edit]).splitlines()
            found += [line.strip() for line in after if line not in before] or ["(gone)"]
    return found


CASES = [
    # Guards
    ("guard-never-raises", "if a < 1:\n    raise ValueError(a)", ["if False:"]),
    (
        "guard-never-raises",
        "if (x := f()) is None:\n    raise E",
        ["if ((x := f()) is None) and False:"],
    ),
    ("guard-never-raises", "if a:\n    b()\nelse:\n    raise E", []),
    ("guard-never-leaves", "def f(a):\n    if not a:\n        return 1\n    g()", ["if False:"]),
    ("guard-never-leaves", "for a in b:\n    if a:\n        continue\n    g()", ["if False:"]),
    ("check-deleted", "caller.require(Role.ADMIN)", ["pass"]),
    ("check-deleted", "_require_excuse(reason)", ["pass"]),
    ("check-deleted", "x = require(y)", []),
    # Locks
    ("lock-deleted", "audit.lock_chain(session, REGISTRY)", ["pass"]),
    ("lock-deleted", "x = lock_row(session)", []),
    ("row-lock-dropped", "s = select(A).with_for_update(of=A)", ["s = select(A)"]),
    (
        "row-lock-dropped",
        "s.get(A, 1, with_for_update=True)",
        ["s.get(A, 1, with_for_update=False)"],
    ),
    # Conditions and times
    ("boundary", "a = b < c", ["a = b <= c"]),
    ("boundary", "a = 0 <= b < c", ["a = 0 < b < c", "a = 0 <= b <= c"]),
    ("time-boundary", "a = row.expires_at <= now", ["a = row.expires_at < now"]),
    ("opposite", "a = b == c", ["a = b != c"]),
    ("opposite", "a = b is not c", ["a = b is c"]),
    ("opposite", "a = b not in c", ["a = b in c"]),
    ("opposite", "if b == c:\n    d()\nelse:\n    e()", []),
    ("negated", "if a:\n    b()\nelse:\n    c()", ["if not (a):"]),
    ("negated", "a = b if c else d", ["a = b if not (c) else d"]),
    ("negated", "a = [b for b in c if b > 1]", ["a = [b for b in c if not (b > 1)]"]),
    ("negated", "if a:\n    raise E", []),
    ("part-left-out", "a = b and c", ["a = (c)", "a = (b)"]),
    (
        "part-left-out",
        "a = (b or c) and d",
        ["a = (d)", "a = ((b or c))", "a = ((c)) and d", "a = ((b)) and d"],
    ),
    ("result-negated", "def f() -> bool:\n    return a in b", ["return not (a in b)"]),
    ("result-negated", "def f() -> int:\n    return a", []),
    # Constants
    ("number-changed", "def f(limit=5): ...", ["def f(limit=6): ..."]),
    ("number-changed", "LIMIT_S: Final = 10.0", ["LIMIT_S: Final = 15.0"]),
    ("number-changed", "a = b[0]", []),
    ("number-changed", "a = f'{b:.3f}'", []),
    ("flag-turned", "f(deep=True)", ["f(deep=False)"]),
    ("flag-turned", "zip(a, b, strict=True)", []),
    ("member-left-out", "NAMES = {'a', 'b'}", ["NAMES = {'b'}", "NAMES = {'a', }"]),
    ("member-left-out", "T = {A: 1, B: 2}", ["T = {B: 2}", "T = {A: 1, }"]),
    ("member-left-out", "def f():\n    return {1, 2}", []),
    ("result-none", "def f() -> str | None:\n    return g()", ["return None"]),
    ("result-none", "def f() -> str:\n    return g()", []),
    # Effects
    ("audit-deleted", "audit.append(session, event)", ["pass"]),
    ("call-deleted", "notify(session)", ["pass"]),
    ("call-deleted", "async def f():\n    await notify()", ["pass"]),
    ("call-deleted", "_log.warning('gone')", []),
    ("assignment-deleted", "def f(row):\n    row.state = 1", ["pass"]),
    ("assignment-deleted", "def f(row):\n    row.count += 1", ["pass"]),
    ("assignment-deleted", "def f(row):\n    count = 1", []),
    ("assignment-deleted", "class A:\n    def __init__(self):\n        self.a = 1", []),
    # Queries
    ("order-dropped", "s = select(A).order_by(A.b)", ["s = select(A)"]),
    ("order-dropped", "a = sorted(b, key=len)", ["a = list(b)"]),
    ("limit-dropped", "s = select(A).limit(3)", ["s = select(A)"]),
    ("distinct-dropped", "s = select(A).distinct()", ["s = select(A)"]),
    (
        "condition-dropped",
        "s = select(A).where(a, b)",
        ["s = select(A).where(b)", "s = select(A).where(a)"],
    ),
    ("condition-dropped", "s = select(A).where(a)", ["s = select(A)"]),
    # Arithmetic
    ("opposite-operator", "a = b + c", ["a = b - c"]),
    ("opposite-operator", "a += 2", ["a -= 2"]),
    ("opposite-operator", "a = b // c", ["a = b * c"]),
    ("opposite-operator", "a = b + 'text'", []),
]


@pytest.mark.parametrize(("operator", "code", "expected"), CASES)
def test_an_operator_gives_the_expected_edits(operator, code, expected):
    assert changes(code, operator) == expected


@pytest.mark.parametrize(
    "code",
    [
        pytest.param('"""A docstring with 1 < 2."""', id="docstring"),
        pytest.param("def f(a: Literal[1, 2]) -> tuple[int, int]: ...", id="annotation"),
        pytest.param("def __repr__(self):\n    return f(self.a < 1)", id="repr"),
        pytest.param("_log.info('%s', 1 < 2)", id="logging"),
        pytest.param("from a import b", id="import"),
        pytest.param("if TYPE_CHECKING:\n    a = 1 < 2", id="type-checking"),
        pytest.param("class A(Protocol):\n    b: int = 1", id="protocol"),
        pytest.param("Page = Annotated[int, Query(le=200)]", id="alias"),
        pytest.param("@dataclass(frozen=True, slots=True)\nclass A: ...", id="dataclass"),
        pytest.param("__all__ = ['a', 'b']", id="all"),
    ],
)
def test_code_without_an_effect_has_no_mutations(code):
    assert list(mutations_of("app/small.py", code)) == []


def test_offsets_count_characters_and_not_bytes():
    assert changes("a = '–' if b < c else 'é'", "boundary") == ["a = '–' if b <= c else 'é'"]


def test_a_mutation_says_where_it_is_and_which_sentence_it_disproves():
    code = "class A:\n    def f(self, now):\n        return self.until > now\n"
    (mutation,) = [m for m in mutations_of("app/a.py", code) if m.operator == "time-boundary"]
    assert (mutation.path, mutation.line, mutation.function) == ("app/a.py", 3, "A.f")
    assert mutation.family is Family.TIMES
    assert mutation.old == "self.until > now"
    assert mutation.sentence == "`A.f` decides the case `self.until == now`."


def test_equal_changes_in_one_function_are_told_apart():
    code = "def f(a):\n    g(a)\n    g(a)\n"
    first, second = mutations_of("app/a.py", code)
    assert first.identity == second.identity
    assert first.key != second.key


def test_a_deleted_statement_may_have_several_lines():
    code = "def f():\n    g(\n        1,\n    )\n    h()\n"
    (deleted,) = [m for m in mutations_of("app/a.py", code) if m.old == "g( 1, )"]
    assert ast.unparse(ast.parse(edited(code, [deleted.edit]))) == "def f():\n    pass\n    h()"
