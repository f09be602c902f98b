"""The dimensions of a base model that decide which prefixes fit it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

MODEL_TYPE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

# Several times the largest published model, to bound the cost of later arithmetic and scans.
LIMITS: Final[Mapping[str, int]] = {
    "layers": 10_000,
    "attention_heads": 65_536,
    "kv_heads": 65_536,
    "head_dim": 65_536,
    "hidden_size": 1_048_576,
    "context_window": 2**31 - 1,
}
WIDTH_LIMIT: Final = 1_048_576

# The keys of different model families for one dimension. Encoder keys come first, because PEFT
# sizes a prefix for an encoder-decoder model by its encoder.
_LAYERS = ("encoder_layers", "num_hidden_layers", "num_layers", "n_layer")
_HEADS = ("encoder_attention_heads", "num_attention_heads", "num_heads", "n_head")
_HIDDEN_SIZE = ("hidden_size", "d_model", "n_embd", "n_embed")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads")
_HEAD_DIM = ("head_dim", "d_kv")
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length")

# Keys of models whose layers, or keys and values, differ in width, or that state the number of
# shared heads in non-standard ways: a derivation would be a guess.
_UNDERIVABLE = (
    "attn_config",
    "block_configs",
    "global_head_dim",
    "kv_lora_rank",
    "multi_query_group_num",
    "n_head_kv",
    "num_global_key_value_heads",
    "per_layer_config",
)
_ATTENTION = frozenset({"attention", "full_attention", "sliding_attention", "chunked_attention"})
# Models whose configuration class defaults to multi-query attention.
_MULTI_QUERY = frozenset({"falcon", "gpt_bigcode"})


class GeometryError(ValueError):
    """A configuration from which the shape of a prefix cannot be derived."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Element counts of a base model; `context_window` is in tokens, None without a limit.

    `kv_heads` counts the heads of the key-value cache: fewer than `attention_heads` if queries
    share them. For an encoder-decoder model `layers` counts the encoder's layers, as in PEFT.
    """

    model_type: str
    layers: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    hidden_size: int
    context_window: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(MODEL_TYPE_PATTERN, self.model_type):
            raise ValueError(
                "The model type must be a short name of letters, digits, '.', '_' and '-'."
            )
        for name, limit in LIMITS.items():
            value: int | None = getattr(self, name)
            if value is not None and not 1 <= value <= limit:
                raise ValueError(f"{name} is {value}; it must lie between 1 and {limit:,}.")
        if self.attention_heads % self.kv_heads:
            raise ValueError(
                f"{self.attention_heads} attention heads cannot share {self.kv_heads} key-value"
                " heads evenly."
            )
        if self.width > WIDTH_LIMIT:
            raise ValueError(f"kv_heads x head_dim is {self.width:,}, above {WIDTH_LIMIT:,}.")

    @property
    def width(self) -> int:
        """Elements of one token's key, or value, in one layer."""
        return self.kv_heads * self.head_dim

    @property
    def columns(self) -> int:
        """Elements of one virtual token: for each layer a key, then a value."""
        return self.layers * 2 * self.width


def geometry_from_config(config: Mapping[str, object]) -> Geometry:
    """Return the geometry that a Hugging Face `config.json` describes.

    For a multimodal model it is the geometry of the language model, in `text_config`.

    Raises:
        GeometryError: A key is missing or has an invalid value, or the model has layers that one
            prefix cannot fit.
    """
    text = _text_config(config)
    _refuse_underivable(text)
    hidden_size, heads = _integer(text, _HIDDEN_SIZE), _integer(text, _HEADS)
    try:
        return Geometry(
            model_type=str(config.get("model_type") or text.get("model_type") or ""),
            layers=_integer(text, _LAYERS),
            attention_heads=heads,
            kv_heads=_kv_heads(text, heads),
            head_dim=_optional_integer(text, _HEAD_DIM) or _split(hidden_size, heads),
            hidden_size=hidden_size,
            context_window=_context_window(text),
        )
    except GeometryError:
        raise
    except ValueError as error:
        raise _cannot_derive(str(error)) from error


def _text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    nested = config.get("text_config")
    return nested if isinstance(nested, Mapping) else config


def _refuse_underivable(config: Mapping[str, object]) -> None:
    if found := next((key for key in _UNDERIVABLE if config.get(key) is not None), None):
        raise _cannot_derive(f"A model with `{found}` has no uniform shape of keys and values.")
    kinds = config.get("layer_types")
    others = {str(kind) for kind in kinds} - _ATTENTION if isinstance(kinds, Iterable) else set()
    if others:
        raise _cannot_derive("Layers other than attention have no key-value cache for a prefix.")


def _kv_heads(config: Mapping[str, object], heads: int) -> int:
    # Falcon's new decoder repeats the shared heads before it caches them (transformers,
    # FalconAttention._split_heads), so its cache is as wide as its queries.
    if config.get("new_decoder_architecture") is True:
        return heads
    if config.get("multi_query", config.get("model_type") in _MULTI_QUERY) is True:
        return 1
    return _optional_integer(config, _KV_HEADS) or heads


def _context_window(config: Mapping[str, object]) -> int | None:
    # T5 files carry a stale `n_positions`, but relative positions are unlimited.
    if "relative_attention_num_buckets" in config:
        return None
    return _optional_integer(config, _CONTEXT)


def _split(hidden_size: int, heads: int) -> int:
    if hidden_size % heads:
        raise _cannot_derive(
            f"`head_dim` is missing, and {hidden_size} is not divisible by {heads} heads."
        )
    return hidden_size // heads


def _integer(config: Mapping[str, object], names: tuple[str, ...]) -> int:
    value = _optional_integer(config, names)
    if value is None:
        raise _cannot_derive(f"The configuration has none of `{'`, `'.join(names)}`.")
    return value


def _optional_integer(config: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    key = next((name for name in names if config.get(name) is not None), None)
    if key is None:
        return None
    value = config[key]
    # In Python bool is a kind of int, but `true` is not a count of heads.
    if type(value) is not int or value < 1:
        raise _cannot_derive(f"`{key}` is not a positive integer.")
    return value


def _cannot_derive(reason: str) -> GeometryError:
    return GeometryError(f"{reason} Give `architecture` instead of deriving it from the file.")
