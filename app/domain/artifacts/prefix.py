"""A prefix for a base model: its properties, and the checks of its configuration and tensors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.domain.artifacts.adapter_config import AdapterConfig
from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.safetensors_header import TensorEntry, TensorFile, limited
from app.domain.errors import Fault
from app.domain.strict_json import quoted

PROMPT_TENSOR: Final = "prompt_embeddings"

# The element types that PEFT writes: safetensors' names, and torch's names for them.
DTYPES: Final[Mapping[str, str]] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

_CACHE_ELEMENT_BYTES: Final = 2
# Grouped-query models without `num_key_value_heads`: PEFT uses the values in the file for them.
_TAKEN_LITERALLY: Final = frozenset({"falcon"})


@dataclass(frozen=True, slots=True)
class PrefixProperties:
    """The properties of a prefix, and its cost.

    Attributes:
        dtype: torch's name of the stored element type.
        parameters: Elements of the tensor.
        parameter_fraction: `parameters` divided by the number of the base model's parameters.
        kv_cache_bytes: Bytes that the prefix adds to one sequence's key-value cache at 16 bits,
            the type of most served bases: PEFT casts a prefix to the type of its base.
        context_share: Virtual tokens divided by the base's context window; None without a window.
        remarks: Sentences about unusual settings that still work.
    """

    peft_type: str
    virtual_tokens: int
    layers: int
    kv_heads: int
    head_dim: int
    dtype: str
    parameters: int
    parameter_fraction: float
    kv_cache_bytes: int
    context_share: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorScan:
    """The result of reading every element of a prefix.

    `key_norms` and `value_norms` are the L2 norms over all virtual tokens, one for each layer;
    they are finite only if the prefix is. `first_non_finite` is a (row, layer) pair, `sha256` the
    digest of the elements' bytes, and `sketch` their signed random projections.
    """

    non_finite: int
    first_non_finite: tuple[int, int] | None
    key_norms: tuple[float, ...]
    value_norms: tuple[float, ...]
    sha256: str
    sketch: tuple[float, ...]

    @property
    def finite(self) -> bool:
        return self.non_finite == 0

    @property
    def all_zero(self) -> bool:
        return not any(self.key_norms) and not any(self.value_norms)


def kv_cache_bytes(parameters: int) -> int:
    """Return the bytes that the elements add to one sequence's key-value cache at 16 bits."""
    return parameters * _CACHE_ELEMENT_BYTES


def context_share(virtual_tokens: int, geometry: Geometry) -> float | None:
    """Return the share of the base's context window that is used; None if it has no window."""
    window = geometry.context_window
    return virtual_tokens / window if window else None


def check_prefix(
    config: AdapterConfig | None,
    file: TensorFile | None,
    *,
    geometry: Geometry,
    base_parameters: int,
) -> tuple[PrefixProperties | None, tuple[Fault, ...]]:
    """Return the properties of a prefix, or every reason why it does not fit this base model.

    A part that could not be read is None, and its faults are not reported again.

    The checks go beyond those of PEFT, which also loads a prefix for another base if layers x
    kv_heads x head_dim happens to give the same number of columns.
    """
    faults: list[Fault] = []
    entry = file and _prompt_entry(file)
    if config:
        faults += _config_faults(config, geometry)
    if file:
        faults += _name_faults(file)
    if entry:
        faults += _entry_faults(entry, geometry)
    if config and entry:
        faults += _row_faults(config, entry)
    if faults or not config or not entry:
        return None, tuple(faults)
    return _properties(config, entry, geometry, base_parameters), ()


def scannable(file: TensorFile, geometry: Geometry) -> TensorEntry | None:
    """Return the prefix's tensor if its elements can be read in this geometry."""
    entry = _prompt_entry(file)
    return entry if entry and not any(_entry_faults(entry, geometry)) else None


def content_faults(scan: TensorScan) -> tuple[Fault, ...]:
    """Return the faults in the elements of a prefix."""
    if scan.first_non_finite:
        row, layer = scan.first_non_finite
        message = (
            f"{scan.non_finite:,} elements are NaN or infinite, the first for virtual token {row}"
            f" in layer {layer} (both counted from 0). Every logit would be NaN."
        )
        return (Fault("tensor-not-finite", message),)
    if scan.all_zero:
        return (Fault("tensor-all-zero", "Every element is zero: the prefix was not trained."),)
    return ()


def _prompt_entry(file: TensorFile) -> TensorEntry | None:
    return next((entry for entry in file.entries if entry.name == PROMPT_TENSOR), None)


def _name_faults(file: TensorFile) -> list[Fault]:
    names = [entry.name for entry in file.entries]
    missing = [Fault("tensor-missing", f"The file holds no tensor `{PROMPT_TENSOR}`.")]
    extra = [_extra(name) for name in names if name != PROMPT_TENSOR]
    return ([] if PROMPT_TENSOR in names else missing) + limited(extra, "tensors")


def _extra(name: str) -> Fault:
    # PEFT loads tensors by name, into the base model too (set_peft_model_state_dict).
    reason = (
        "PEFT would copy it over the base model's own weight"
        if name.startswith("base_model.")
        else f"a prefix consists of `{PROMPT_TENSOR}` and nothing else"
    )
    return Fault("tensor-extra", f"The file also holds the tensor {quoted(name)}: {reason}.")


def _entry_faults(entry: TensorEntry, geometry: Geometry) -> Iterator[Fault]:
    if entry.dtype not in DTYPES:
        message = f"`{PROMPT_TENSOR}` is {entry.dtype}; it must be one of {', '.join(DTYPES)}."
        yield Fault("tensor-dtype", message)
    match entry.shape:
        case [rows, columns]:
            yield from _shape_faults(rows, columns, geometry)
        case shape:
            message = f"`{PROMPT_TENSOR}` has {len(shape)} dimensions; a prefix has 2."
            yield Fault("tensor-rank", message)


def _shape_faults(rows: int, columns: int, geometry: Geometry) -> Iterator[Fault]:
    if not rows:
        yield Fault("tensor-empty", f"`{PROMPT_TENSOR}` has no rows, so no virtual tokens.")
    if columns != geometry.columns:
        yield Fault(
            "geometry-columns",
            f"`{PROMPT_TENSOR}` has {columns:,} columns; this base model needs"
            f" {geometry.columns:,}: {geometry.layers} layers x 2 x {geometry.kv_heads} key-value"
            f" heads x {geometry.head_dim}.",
        )


def _row_faults(config: AdapterConfig, entry: TensorEntry) -> Iterator[Fault]:
    match entry.shape:
        case [rows, _] if rows != config.virtual_tokens:
            message = f"`{PROMPT_TENSOR}` has {rows:,} rows for {config.virtual_tokens:,} tokens."
            yield Fault("tensor-rows", message)


def _config_faults(config: AdapterConfig, geometry: Geometry) -> Iterator[Fault]:
    if config.layers not in {None, geometry.layers}:
        message = f"`num_layers` is {config.layers}; this base model has {geometry.layers}."
        yield Fault("geometry-layers", message)
    yield from _head_faults(config, geometry)
    window = geometry.context_window
    if window is not None and config.virtual_tokens >= window:
        message = f"{config.virtual_tokens:,} virtual tokens fill a context window of {window:,}."
        yield Fault("geometry-context", message)


def _head_faults(config: AdapterConfig, geometry: Geometry) -> Iterator[Fault]:
    heads, token_dim = _heads_and_token_dim(config, geometry)
    admitted = {geometry.kv_heads: {geometry.width}}
    if _may_state_query_heads(geometry):
        query_width = geometry.attention_heads * geometry.head_dim
        admitted[geometry.attention_heads] = {geometry.hidden_size, query_width}
    if heads not in admitted:
        message = f"`num_attention_heads` is {heads}; this base model caches {geometry.kv_heads}."
        yield Fault("geometry-heads", message)
    elif token_dim not in admitted[heads]:
        message = f"`token_dim` is {token_dim}; this base model caches {geometry.width} a layer."
        yield Fault("geometry-token-dim", message)


def _heads_and_token_dim(config: AdapterConfig, geometry: Geometry) -> tuple[int, int]:
    """Return the values that PEFT uses: it fills missing ones from the query side."""
    return config.heads or geometry.attention_heads, config.token_dim or geometry.hidden_size


def _may_state_query_heads(geometry: Geometry) -> bool:
    # On these bases PEFT recomputes both values, and older releases saved the original ones.
    grouped = geometry.kv_heads < geometry.attention_heads
    return grouped and geometry.model_type not in _TAKEN_LITERALLY


def _properties(
    config: AdapterConfig, entry: TensorEntry, geometry: Geometry, base_parameters: int
) -> PrefixProperties:
    parameters = config.virtual_tokens * geometry.columns
    return PrefixProperties(
        peft_type=config.peft_type,
        virtual_tokens=config.virtual_tokens,
        layers=geometry.layers,
        kv_heads=geometry.kv_heads,
        head_dim=geometry.head_dim,
        dtype=DTYPES[entry.dtype],
        parameters=parameters,
        parameter_fraction=parameters / base_parameters,
        kv_cache_bytes=kv_cache_bytes(parameters),
        context_share=context_share(config.virtual_tokens, geometry),
        remarks=tuple(_remarks(config, geometry)),
    )


def _remarks(config: AdapterConfig, geometry: Geometry) -> Iterator[str]:
    heads, _ = _heads_and_token_dim(config, geometry)
    if heads != geometry.kv_heads:
        yield (
            f"The configuration states {heads} query heads where the base model caches"
            f" {geometry.kv_heads}; PEFT corrects it on loading."
        )
    if config.projected:
        yield "The tensor is the output of an unsaved projection, so it cannot be trained further."
