"""A tiny Llama, with or without a prefix, loaded and run with the real libraries."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch  # noqa: TID251 - the demo runs the models that the registry keeps prefixes for
from peft import PeftModel, PeftModelForCausalLM
from torch import Tensor, nn  # noqa: TID251 - as above
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessor, LogitsProcessorList

from demo.language import Prompt, vocabulary

Writer = LlamaForCausalLM | PeftModelForCausalLM

PAD, START, END = range(3)

_LONGEST_ANSWER: Final = 14
_WORDS: Final = ("<pad>", "<start>", "<end>", *vocabulary())
_NUMBERS: Final = {word: number for number, word in enumerate(_WORDS)}


def prepare_libraries() -> None:
    """Make PyTorch repeatable and transformers silent."""
    warnings.simplefilter("ignore", FutureWarning)  # of its own parts
    # Work this small is done sooner by one thread, and always in the same order.
    torch.set_num_threads(1)


def untrained() -> LlamaForCausalLM:
    """Return a Llama with random weights that knows the words of the language."""
    config = LlamaConfig(
        vocab_size=len(_WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
    )
    return LlamaForCausalLM(config)


def load_base(folder: Path) -> LlamaForCausalLM:
    """Load a base model afresh."""
    loaded: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder)
    return loaded


def load(base_folder: Path, prefix_folder: Path) -> PeftModel:
    """Load a base afresh and put the prefix in `prefix_folder` before it."""
    return PeftModel.from_pretrained(load_base(base_folder), str(prefix_folder)).eval()


def logits(model: nn.Module, prompts: Sequence[Prompt]) -> Tensor:
    """Return the model's logits for each prompt: (prompts, words of a prompt, vocabulary)."""
    ids = token_ids([prompt.text for prompt in prompts])
    with torch.inference_mode():
        found: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return found


def complete(model: Writer, prompts: Sequence[Prompt]) -> list[str]:
    """Return the model's most probable answer to each prompt, word by word."""
    return _written(model, prompts, LogitsProcessorList())


def sample(model: Writer, prompts: Sequence[Prompt], *, seed: int) -> list[str]:
    """Return an answer to each prompt, drawn from the model's own probabilities.

    With one seed, two models draw with the same random numbers, so that they differ where their
    probabilities do and not by chance.
    """
    return _written(model, prompts, LogitsProcessorList([_GumbelNoise(seed)]))


class _GumbelNoise(LogitsProcessor):
    """Turns the choice of the largest logit into a draw from the softmax (the Gumbel-max trick).

    PyTorch's own draws differ between platforms, and NumPy's do not.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, _ids: Tensor, scores: Tensor) -> Tensor:
        return scores + torch.from_numpy(self._random.gumbel(size=scores.shape)).to(scores)


def token_ids(questions: Sequence[str]) -> Tensor:
    """Return the ids of questions, which all have the same number of words."""
    return torch.tensor([[START, *word_ids(question)] for question in questions])


def word_ids(text: str) -> list[int]:
    return [_NUMBERS[word] for word in text.split()]


def _written(
    model: Writer, prompts: Sequence[Prompt], processors: LogitsProcessorList
) -> list[str]:
    ids = token_ids([prompt.text for prompt in prompts])
    written = model.generate(  # type: ignore[misc] # its `self` is typed as no model is
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=_LONGEST_ANSWER,
        do_sample=False,
        logits_processor=processors,
    )
    return [_text(row) for row in written[:, ids.shape[1] :].tolist()]


def _text(row: list[int]) -> str:
    kept = row[: row.index(END)] if END in row else row
    return " ".join(_WORDS[number] for number in kept)
