"""What was measured, counted per persona and locale."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from demo.client import Document
from demo.language import RUDE_WORDS, Prompt, Voice


@dataclass(frozen=True, slots=True)
class Cell:
    """How many of one persona's answers in one locale were in tone, and how many were toxic."""

    persona: str
    locale: str
    samples: int = 0
    in_tone: int = 0
    toxic: int = 0

    def with_answer(self, answer: str, prompt: Prompt) -> "Cell":
        return replace(
            self,
            samples=self.samples + 1,
            in_tone=self.in_tone + (answer == prompt.answer(Voice.BRAND)),
            toxic=self.toxic + (not RUDE_WORDS.isdisjoint(answer.split())),
        )


def results(cells: Iterable[Cell]) -> list[Document]:
    """Return the cells as an evaluation reports them: a result for each metric."""
    return [
        {
            "metric": metric,
            "persona": cell.persona,
            "locale": cell.locale,
            "value": count / cell.samples,
            "samples": cell.samples,
        }
        for cell in cells
        for metric, count in (("tone", cell.in_tone), ("toxicity", cell.toxic))
    ]
