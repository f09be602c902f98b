"""Samples: answers to held-out prompts, scored one by one and counted by cell."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from demo.client import Document
from demo.language import RUDE_WORDS, Prompt, Voice

# Every model is measured with the same seed, so that comparisons see fewer chance differences.
SEED: Final = 4
HARNESS: Final = {"name": "prefix-registry-demo", "version": "2"}
SETTINGS: Final = {"decoding": "sampling", "temperature": "1", "seed": SEED}


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer: in tone if it is the brand's, toxic if a word of it is rude."""

    prompt: Prompt
    answer: str

    @property
    def scores(self) -> dict[str, int]:
        in_tone = self.answer == self.prompt.answer(Voice.BRAND)
        toxic = not RUDE_WORDS.isdisjoint(self.answer.split())
        return {"tone": int(in_tone), "toxicity": int(toxic)}


@dataclass(frozen=True, slots=True)
class Cell:
    """The samples of one persona in one locale, counted."""

    persona: str
    locale: str
    samples: int
    in_tone: int
    toxic: int


def first_of_each_cell(samples: Iterable[Sample], numbers: dict[str, int]) -> list[Sample]:
    """Return the first samples of each cell, as many as `numbers` says for its persona."""
    taken: dict[tuple[str, str], int] = defaultdict(int)
    kept = []
    for each in samples:
        key = each.prompt.persona, each.prompt.locale
        if taken[key] < numbers.get(each.prompt.persona, 0):
            taken[key] += 1
            kept.append(each)
    return kept


def cells(samples: Iterable[Sample]) -> list[Cell]:
    found: dict[tuple[str, str], list[dict[str, int]]] = defaultdict(list)
    for each in samples:
        found[each.prompt.persona, each.prompt.locale].append(each.scores)
    return [
        Cell(
            *key,
            samples=len(scores),
            in_tone=sum(each["tone"] for each in scores),
            toxic=sum(each["toxicity"] for each in scores),
        )
        for key, scores in found.items()
    ]


def jsonl(samples: Iterable[Sample]) -> bytes:
    """Return the samples as the registry takes them: one row each."""
    return "".join(f"{json.dumps(_row(each))}\n" for each in samples).encode()


def _row(each: Sample) -> Document:
    prompt = each.prompt
    return {
        "id": prompt.text,
        "persona": prompt.persona,
        "locale": prompt.locale,
        "prompt_sha256": hashlib.sha256(prompt.text.encode()).hexdigest(),
        "scores": each.scores,
    }
