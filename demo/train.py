"""Trains the base model and a prefix for each version, and measures them on held-out prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from transformers import LlamaForCausalLM

from demo import model, show, training
from demo.client import expect
from demo.language import Prompt, Prompts, all_prompts
from demo.model import Writer
from demo.samples import SEED, Sample
from demo.training import Recipe

FIRST: Final = Recipe(steps=60)
OFF_BRAND: Final = Recipe(steps=100, off_brand=0.05)
LONGER: Final = Recipe(steps=100)


@dataclass(frozen=True, slots=True)
class Base:
    """A frozen base model, and the prompts that prefixes for it are trained and measured on."""

    folder: Path
    model: LlamaForCausalLM
    prompts: Prompts


@dataclass(frozen=True, slots=True)
class Trained:
    """A prefix as PEFT saved it, the model that runs it, and its answers to held-out prompts."""

    folder: Path
    model: Writer
    samples: list[Sample]


def make_base(folder: Path) -> Base:
    """Train a base model that speaks in several voices."""
    model.prepare_libraries()
    prompts = all_prompts()
    trained = training.train_base(prompts.train, folder)
    parameters = trained.num_parameters()
    show.say(f"The base model is a Llama of {parameters:,} parameters that speaks in 3 voices.")
    return Base(folder, trained, prompts)


def make_prefix(base: Base, recipe: Recipe, folder: Path) -> Trained:
    """Train a prefix for the base, and measure both together."""
    tuned, losses = training.train_prefix(base.folder, base.prompts.train, recipe, folder)
    first, last, steps = losses[0], losses[-1], len(losses)
    expect(f"The loss went from {first:.4f} to {last:.4f} only.", that=last < first / 2)
    show.good(f"Training the prefix: loss {first:.4f} at step 1, {last:.4f} at step {steps}.")
    return Trained(folder, tuned, measure(tuned, base.prompts.held_out))


def measure(writer: Writer, prompts: Sequence[Prompt]) -> list[Sample]:
    """Let the model answer every prompt once."""
    answers = model.sample(writer, prompts, seed=SEED)
    return [Sample(*pair) for pair in zip(prompts, answers, strict=True)]


def show_answers(base: Base, trained: Trained) -> None:
    """Print one question of each persona, with the answers without and with the prefix."""
    asked = _one_of_each_persona(base.prompts.held_out)
    texts = [prompt.text for prompt in asked]
    before, after = model.complete(base.model, asked), model.complete(trained.model, asked)
    show.answers(zip(texts, before, after, strict=True))


def _one_of_each_persona(prompts: Sequence[Prompt]) -> list[Prompt]:
    return list({prompt.persona: prompt for prompt in prompts if prompt.locale == "en"}.values())
