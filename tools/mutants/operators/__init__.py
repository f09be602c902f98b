"""All operators, and what they find in one module."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tools.mutants.mutation import Mutation
from tools.mutants.operators import (
    arithmetic,
    conditions,
    constants,
    effects,
    guards,
    locks,
    queries,
)
from tools.mutants.operators.finding import Operator
from tools.mutants.source import Source

OPERATORS: Final[tuple[Operator, ...]] = (
    guards.branches,
    guards.checks,
    locks.calls,
    locks.rows,
    conditions.comparisons,
    conditions.negations,
    conditions.parts,
    conditions.results,
    constants.numbers,
    constants.flags,
    constants.members,
    constants.optional_results,
    effects.calls,
    effects.assignments,
    queries.clauses,
    queries.conditions,
    queries.orders,
    arithmetic.operations,
)


def mutations_of(path: str, text: str) -> Iterator[Mutation]:
    """Yield every mutation of a module, in the order of its text."""
    source = Source(path, text)
    seen: Counter[tuple[str, str, str, str]] = Counter()
    for node in source.places():
        for operator in OPERATORS:
            for found in operator(source, node):
                name = (source.function(node), found.operator, found.old, found.edit.new)
                yield Mutation(
                    path=path,
                    line=text.count("\n", 0, found.edit.start) + 1,
                    last_line=text.count("\n", 0, found.edit.end) + 1,
                    function=name[0],
                    family=found.family,
                    operator=found.operator,
                    old=found.old,
                    occurrence=seen[name],
                    edit=found.edit,
                    sentence=found.sentence,
                )
                seen[name] += 1
