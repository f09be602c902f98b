"""Letting a model answer, and counting what it answers."""

from collections.abc import Sequence
from typing import Final

from demo.language import Prompt
from demo.model import Writer, complete
from demo.samples import Cell

HARNESS: Final = {"name": "prefix-registry-demo", "version": "1"}


def measure(model: Writer, prompts: Sequence[Prompt]) -> list[Cell]:
    """Let the model answer every prompt greedily; an answer is in tone if it is the brand's."""
    cells: dict[tuple[str, str], Cell] = {}
    for prompt, answer in zip(prompts, complete(model, prompts), strict=True):
        key = prompt.persona, prompt.locale
        cells[key] = cells.get(key, Cell(*key)).with_answer(answer, prompt)
    return list(cells.values())
