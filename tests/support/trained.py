"""Real prefixes, trained with PEFT on models small enough for a test.

The libraries take seconds to import, so only a process that trains a prefix imports them.
"""

import json
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch  # noqa: TID251  # PEFT trains with it

from tests.support.adapters import TOKENS


@dataclass(frozen=True)
class Trained:
    """A prefix that PEFT trained and saved, and the configuration of its base model."""

    base_config: dict[str, object]
    base_parameters: int
    cache_shape: tuple[int, ...]
    config: bytes
    weights: bytes


_SIZES = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4}
_GATED = _SIZES | {"intermediate_size": 32}
_GPT = {"vocab_size": 64, "n_embd": 32, "n_head": 4, "n_positions": 64}
_T5 = {"vocab_size": 64, "d_model": 32, "d_ff": 32, "num_heads": 4, "decoder_start_token_id": 0}
_BART = {
    "vocab_size": 64,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
}
_MULTI_QUERY = {"num_attention_heads": 1, "token_dim": 8}

# Configuration class, its arguments, and further settings that the adapter needs.
BASES = {
    "llama": ("LlamaConfig", _GATED | {"num_hidden_layers": 4, "num_key_value_heads": 2}, {}),
    "mistral": ("MistralConfig", _GATED | {"num_hidden_layers": 2, "num_key_value_heads": 2}, {}),
    "qwen2": ("Qwen2Config", _GATED | {"num_hidden_layers": 2, "num_key_value_heads": 2}, {}),
    "qwen3": (
        "Qwen3Config",
        _GATED | {"num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 32},
        {},
    ),
    "gemma": (
        "GemmaConfig",
        _GATED | {"num_hidden_layers": 2, "num_key_value_heads": 1, "head_dim": 16},
        {},
    ),
    "gpt2": ("GPT2Config", _GPT | {"n_layer": 3}, {}),
    "gpt-neo": (
        "GPTNeoConfig",
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_heads": 4,
            "num_layers": 2,
            "attention_types": [[["global", "local"], 1]],
        },
        {},
    ),
    "bloom": ("BloomConfig", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}, {}),
    "bigcode": ("GPTBigCodeConfig", _GPT | {"n_layer": 2}, {}),
    "falcon": ("FalconConfig", _SIZES | {"num_hidden_layers": 2}, _MULTI_QUERY),
    "falcon-new": (
        "FalconConfig",
        _SIZES | {"num_hidden_layers": 2, "new_decoder_architecture": True, "num_kv_heads": 2},
        {},
    ),
    "t5": ("T5Config", _T5 | {"num_layers": 3, "num_decoder_layers": 2, "d_kv": 8}, {}),
    "t5-wide": ("T5Config", _T5 | {"num_layers": 2, "d_kv": 16}, {"token_dim": 64}),
    "bart": ("BartConfig", _BART, {}),
}


@cache
def train_tiny(base: str, peft_type: str = "PREFIX_TUNING", **settings: object) -> Trained:
    """Train a prefix for one of `BASES` for two steps; return the files that PEFT saves."""
    import transformers  # noqa: PLC0415

    torch.manual_seed(0)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The libraries' warnings do not concern this project.
        warnings.simplefilter("ignore")
        name, arguments, needed = BASES[base]
        config = getattr(transformers, name)(**arguments)
        task = "SEQ_2_SEQ_LM" if config.is_encoder_decoder else "CAUSAL_LM"
        model = _base_model(config)
        config.save_pretrained(folder)
        facts = (
            json.loads(Path(folder, "config.json").read_bytes()),
            model.num_parameters(),
            _cache_shape(model),
        )
        settings = {"task_type": task, "num_virtual_tokens": TOKENS} | needed | settings
        _train(model, _settings_class(peft_type)(**settings), folder)
        return Trained(
            *facts,
            Path(folder, "adapter_config.json").read_bytes(),
            Path(folder, "adapter_model.safetensors").read_bytes(),
        )


def runs_in_peft(prefix: Trained) -> bool:
    """Whether PEFT loads the prefix onto a new base model and the result runs."""
    import peft  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    config = transformers.AutoConfig.for_model(**prefix.base_config)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        Path(folder, "adapter_config.json").write_bytes(prefix.config)
        Path(folder, "adapter_model.safetensors").write_bytes(prefix.weights)
        model = _base_model(config)
        try:
            adapted = peft.PeftModel.from_pretrained(model, folder)
            ids = torch.arange(5).unsqueeze(0)
            logits = adapted(input_ids=ids, labels=ids).logits
        except (RuntimeError, IndexError, ValueError):
            return False
        return bool(logits.isfinite().all())


def _base_model(config):
    import transformers  # noqa: PLC0415

    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM.from_config(config)
    return transformers.AutoModelForCausalLM.from_config(config)


def _settings_class(peft_type: str) -> type:
    import peft  # noqa: PLC0415

    return {"PREFIX_TUNING": peft.PrefixTuningConfig, "CARTRIDGE": peft.CartridgeConfig}[peft_type]


def _cache_shape(model: torch.nn.Module) -> tuple[int, ...]:
    """Return the shape of one layer's keys in the model's own cache."""
    ids = torch.arange(5).unsqueeze(0)
    inputs = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    cached = model(input_ids=ids, use_cache=True, **inputs).past_key_values
    return tuple(next(iter(getattr(cached, "self_attention_cache", cached)))[0].shape)


def _train(model, settings, folder: str) -> None:
    import peft  # noqa: PLC0415

    adapted = peft.get_peft_model(model, settings)
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    ids = torch.arange(5).unsqueeze(0)
    for _ in range(2):
        optimizer.zero_grad()
        adapted(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    adapted.save_pretrained(folder)
