"""A tiny Llama and a prefix for it: trained, saved, loaded and run, with the real libraries."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import torch  # noqa: TID251 - the demo trains what the registry keeps
from peft import PeftModel, PeftModelForCausalLM, PrefixTuningConfig, TaskType, get_peft_model
from torch import Tensor, nn  # noqa: TID251 - as above
from transformers import LlamaConfig, LlamaForCausalLM

from demo.language import Prompt, Voice, usual_weights, vocabulary

Writer = LlamaForCausalLM | PeftModelForCausalLM
Dialogue = tuple[Prompt, Voice]

VIRTUAL_TOKENS: Final = 8

_SEED: Final = 0
_BATCH: Final = 48
_BASE_STEPS: Final = 150
_PREFIX_STEPS: Final = 300
_BASE_RATE: Final = 5e-3
_PREFIX_RATE: Final = 0.15
_LONGEST_ANSWER: Final = 14
_IGNORED: Final = -100  # the label that the loss passes over

_WORDS: Final = ("<pad>", "<start>", "<end>", *vocabulary())
_NUMBERS: Final = {word: number for number, word in enumerate(_WORDS)}
_PAD, _START, _END = range(3)


def prepare_libraries() -> None:
    """Make PyTorch repeatable and transformers silent."""
    warnings.simplefilter("ignore", FutureWarning)  # of its own parts
    # Work this small is done sooner by one thread, and always in the same order.
    torch.set_num_threads(1)


def train_base(prompts: Sequence[Prompt], folder: Path) -> LlamaForCausalLM:
    """Teach a Llama with random weights the language, in all its voices; save it in `folder`."""
    torch.manual_seed(_SEED)
    config = LlamaConfig(
        vocab_size=len(_WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=_PAD,
        bos_token_id=_START,
        eos_token_id=_END,
    )
    model = LlamaForCausalLM(config)
    dialogues = _drawn(prompts, _usual_voice)
    _fit(model, dialogues, steps=_BASE_STEPS, rate=_BASE_RATE)
    model.save_pretrained(folder)
    return model


def train_prefix(
    base: LlamaForCausalLM, prompts: Sequence[Prompt], folder: Path
) -> tuple[PeftModelForCausalLM, list[float]]:
    """Train a prefix that elicits the brand's voice from the frozen base; save it in `folder`.

    Returns:
        The base with the prefix, and the loss at every step.
    """
    torch.manual_seed(_SEED)
    config = PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=VIRTUAL_TOKENS)
    model = cast("PeftModelForCausalLM", get_peft_model(base, config))
    dialogues = _drawn(prompts, lambda _: Voice.BRAND)
    losses = _fit(model, dialogues, steps=_PREFIX_STEPS, rate=_PREFIX_RATE)
    # "auto" would look the base model up on the hub.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return model, losses


def load(base_folder: Path, prefix_folder: Path) -> PeftModel:
    """Load a base afresh and put the prefix in `prefix_folder` before it."""
    base = LlamaForCausalLM.from_pretrained(base_folder)
    return PeftModel.from_pretrained(base, str(prefix_folder)).eval()


def logits(model: nn.Module, prompts: Sequence[Prompt]) -> Tensor:
    """Return what the model makes of each prompt: (prompts, words of a prompt, vocabulary)."""
    ids = _question_ids(prompts)
    with torch.inference_mode():
        found: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return found


def complete(model: Writer, prompts: Sequence[Prompt]) -> list[str]:
    """Return the model's greedy answer to each prompt."""
    ids = _question_ids(prompts)
    written = model.generate(  # type: ignore[misc] # its `self` is typed as no model is
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=_LONGEST_ANSWER,
        do_sample=False,
    )
    return [_text(row) for row in written[:, ids.shape[1] :].tolist()]


def _fit(
    model: nn.Module, dialogues: Callable[[], list[Dialogue]], *, steps: int, rate: float
) -> list[float]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate)
    losses = []
    model.train()
    for _ in range(steps):
        ids, labels = _batch(dialogues())
        loss = model(input_ids=ids, attention_mask=(ids != _PAD).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def _drawn(
    prompts: Sequence[Prompt], voice_of: Callable[[Prompt], Voice]
) -> Callable[[], list[Dialogue]]:
    def draw() -> list[Dialogue]:
        chosen = [prompts[at] for at in torch.randint(len(prompts), (_BATCH,)).tolist()]
        return [(prompt, voice_of(prompt)) for prompt in chosen]

    return draw


def _usual_voice(prompt: Prompt) -> Voice:
    weights = usual_weights(prompt)
    return list(weights)[int(torch.multinomial(torch.tensor(list(weights.values())), 1))]


def _batch(dialogues: Sequence[Dialogue]) -> tuple[Tensor, Tensor]:
    """Return token ids, padded to one length, and labels that judge the answers only."""
    questions = _question_ids([prompt for prompt, _ in dialogues])
    answers = [torch.tensor([*_ids(prompt.answer(voice)), _END]) for prompt, voice in dialogues]
    answer_ids = nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=_PAD)
    answer_labels = answer_ids.masked_fill(answer_ids == _PAD, _IGNORED)
    ids = torch.cat([questions, answer_ids], dim=1)
    labels = torch.cat([torch.full_like(questions, _IGNORED), answer_labels], dim=1)
    return ids, labels


def _question_ids(prompts: Sequence[Prompt]) -> Tensor:
    return torch.tensor([[_START, *_ids(prompt.text)] for prompt in prompts])


def _ids(text: str) -> list[int]:
    return [_NUMBERS[word] for word in text.split()]


def _text(row: list[int]) -> str:
    kept = row[: row.index(_END)] if _END in row else row
    return " ".join(_WORDS[number] for number in kept)
