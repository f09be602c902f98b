"""Step 2: a base model that speaks in several voices, and a prefix that elicits one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor  # noqa: TID251 - what the trained model computes is kept to compare

from demo import model, show
from demo.client import expect
from demo.language import Prompt, Prompts, all_prompts
from demo.measure import measure
from demo.samples import Cell


@dataclass(frozen=True, slots=True)
class Made:
    """A trained prefix, its base model, and what the two together answer to held-out prompts."""

    base: Path
    base_parameters: int
    prefix: Path
    prompts: Prompts
    cells: list[Cell]
    logits: Tensor

    def runs_the_same(self, prefix: Path) -> bool:
        """Whether a fresh base with the prefix in that folder computes the same to the bit."""
        loaded = model.load(self.base, prefix)
        return model.logits(loaded, self.prompts.held_out).equal(self.logits)


def make(folder: Path) -> Made:
    """Train a base model and a prefix for it, and measure both on held-out prompts."""
    model.prepare_libraries()
    prompts = all_prompts()
    asked = _one_of_each_persona(prompts.held_out)
    base = model.train_base(prompts.train, folder / "base")
    parameters = base.num_parameters()
    show.say(f"The base model is a Llama of {parameters:,} parameters that speaks in 3 voices.")
    before, base_answers = measure(base, prompts.held_out), model.complete(base, asked)
    tuned, losses = model.train_prefix(base, prompts.train, folder / "prefix")
    first, last = losses[0], losses[-1]
    expect(f"The loss went from {first:.4f} to {last:.4f} only.", that=last < first / 2)
    steps = len(losses)
    show.good(f"Training the prefix: loss {first:.4f} at step 1, {last:.4f} at step {steps}.")
    after, answers = measure(tuned, prompts.held_out), model.complete(tuned, asked)
    texts = [prompt.text for prompt in asked]
    show.answers(zip(texts, base_answers, answers, strict=True))
    show.cells(before, after)
    return Made(
        base=folder / "base",
        base_parameters=parameters,
        prefix=folder / "prefix",
        prompts=prompts,
        cells=after,
        logits=model.logits(tuned, prompts.held_out),
    )


def _one_of_each_persona(prompts: Sequence[Prompt]) -> list[Prompt]:
    return list({prompt.persona: prompt for prompt in prompts if prompt.locale == "en"}.values())
