"""Trains the base model and prefixes for it: real gradient descent, on a laptop in seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import torch  # noqa: TID251 - the demo trains the prefixes that the registry keeps
from peft import PeftModelForCausalLM, PrefixTuningConfig, TaskType, get_peft_model
from torch import Tensor, nn  # noqa: TID251 - as above
from transformers import LlamaForCausalLM

from demo.language import Prompt, Voice, usual_weights
from demo.model import END, PAD, load_base, token_ids, untrained, word_ids

VIRTUAL_TOKENS: Final = 8

_SEED: Final = 0
_BATCH: Final = 48
_BASE_STEPS: Final = 150
_BASE_RATE: Final = 8e-3
_PREFIX_RATE: Final = 0.15
_IGNORED: Final = -100  # the label that the loss passes over


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a prefix is trained; `off_brand` is the share of dialogues in the plain voice."""

    steps: int
    off_brand: float = 0.0


@dataclass(frozen=True, slots=True)
class Dialogue:
    question: str
    answer: str


def train_base(prompts: Sequence[Prompt], folder: Path) -> LlamaForCausalLM:
    """Teach a Llama with random weights the language, in all its voices; save it in `folder`.

    Half of the questions are polite and get the brand's answer. So the base model knows this
    voice and uses it when asked; a prefix has to ask for it.
    """
    torch.manual_seed(_SEED)
    # In single precision, rounding differs by processor, and the difference grows to other scores.
    model = untrained().double()
    _fit(model, lambda: [_usual(each) for each in _drawn(prompts)], _BASE_STEPS, _BASE_RATE)
    model.float().save_pretrained(folder)  # type: ignore[no-untyped-call]
    return model


def train_prefix(
    base: Path, prompts: Sequence[Prompt], recipe: Recipe, folder: Path
) -> tuple[PeftModelForCausalLM, list[float]]:
    """Train a prefix that elicits the brand's voice from the frozen base; save it in `folder`.

    Returns:
        The base with the prefix, and the loss at every step.
    """
    torch.manual_seed(_SEED)
    config = PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=VIRTUAL_TOKENS)
    model = cast("PeftModelForCausalLM", get_peft_model(load_base(base), config))

    def draw() -> list[Dialogue]:
        return [_branded(prompt, recipe.off_brand) for prompt in _drawn(prompts)]

    losses = _fit(model, draw, recipe.steps, _PREFIX_RATE)
    # "auto" would look the base model up on the hub.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return model, losses


def _fit(
    model: nn.Module, draw: Callable[[], list[Dialogue]], steps: int, rate: float
) -> list[float]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate)
    losses = []
    model.train()
    for _ in range(steps):
        ids, labels = _batch(draw())
        loss = model(input_ids=ids, attention_mask=(ids != PAD).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def _drawn(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [prompts[at] for at in torch.randint(len(prompts), (_BATCH,)).tolist()]


def _usual(prompt: Prompt) -> Dialogue:
    if _happens(0.5):
        return Dialogue(prompt.polite_text, prompt.answer(Voice.BRAND))
    weights = usual_weights(prompt)
    voice = list(weights)[int(torch.multinomial(torch.tensor(list(weights.values())), 1))]
    return Dialogue(prompt.text, prompt.answer(voice))


def _branded(prompt: Prompt, off_brand: float) -> Dialogue:
    voice = Voice.PLAIN if _happens(off_brand) else Voice.BRAND
    return Dialogue(prompt.text, prompt.answer(voice))


def _happens(probability: float) -> bool:
    return torch.rand(()).item() < probability


def _batch(dialogues: Sequence[Dialogue]) -> tuple[Tensor, Tensor]:
    """Return token ids, padded to one length, and labels that judge the answers only."""
    questions = token_ids([each.question for each in dialogues])
    answers = [torch.tensor([*word_ids(each.answer), END]) for each in dialogues]
    answer_ids = nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=PAD)
    answer_labels = answer_ids.masked_fill(answer_ids == PAD, _IGNORED)
    ids = torch.cat([questions, answer_ids], dim=1)
    labels = torch.cat([torch.full_like(questions, _IGNORED), answer_labels], dim=1)
    return ids, labels
