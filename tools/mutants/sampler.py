"""Which mutations are tried: a sample that depends on the seed and the code alone."""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from tools.mutants.mutation import Family, Identity, Mutation, edited

# Parts of a sample in per cent. Faults in the first four families are the costly ones.
SHARES: Final[Mapping[Family, int]] = {
    Family.GUARDS: 24,
    Family.LOCKS: 6,
    Family.CONDITIONS: 20,
    Family.TIMES: 12,
    Family.EFFECTS: 13,
    Family.CONSTANTS: 11,
    Family.QUERIES: 9,
    Family.ARITHMETIC: 5,
}
_WHOLE: Final = 100


def sample(
    candidates: Iterable[Mutation],
    *,
    count: int,
    seed: str,
    accepted: Collection[Identity],
    texts: Mapping[str, str],
) -> list[Mutation]:
    """Return at most `count` mutations, no two of one line, in the order of the code.

    Each family gets its share; what a family cannot fill goes to the others. The rank of a
    mutation depends on the seed and on itself, so an edit elsewhere does not change the draw.

    Args:
        candidates: Every mutation that could be tried.
        count: How many to try.
        seed: The same seed draws the same sample from the same code.
        accepted: Survivors with a reason, which are not tried.
        texts: The modules by path, to leave out mutations that do not compile.
    """
    ranked = sorted(
        (each for each in candidates if each.identity not in accepted),
        key=lambda each: _rank(seed, each),
    )
    wanted = {family: count * share // _WHOLE for family, share in SHARES.items()}
    drawn = _draw(ranked, wanted, texts)
    lines = {(each.path, each.line) for each in drawn}
    drawn += _fill(ranked, count - len(drawn), lines, texts)
    return sorted(drawn, key=lambda each: (each.path, each.edit, each.operator))


def _rank(seed: str, mutation: Mutation) -> float:
    return random.Random(f"{seed}\n{mutation.key}").random()  # noqa: S311 - a draw, no secret


def _draw(
    ranked: Sequence[Mutation], wanted: Mapping[Family, int], texts: Mapping[str, str]
) -> list[Mutation]:
    """Return the first of each family, up to its share."""
    drawn: list[Mutation] = []
    for family, most in wanted.items():
        lines = {(each.path, each.line) for each in drawn}
        of_family = [each for each in ranked if each.family is family]
        drawn += _fill(of_family, most, lines, texts)
    return drawn


def _fill(
    ranked: Sequence[Mutation],
    most: int,
    lines: set[tuple[str, int]],
    texts: Mapping[str, str],
) -> list[Mutation]:
    drawn: list[Mutation] = []
    for each in ranked:
        if len(drawn) >= most:
            break
        line = (each.path, each.line)
        if line not in lines and compiles(edited(texts[each.path], [each.edit])):
            lines.add(line)
            drawn.append(each)
    return drawn


def compiles(text: str) -> bool:
    """Whether a module's text is Python."""
    try:
        compile(text, "mutated", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
