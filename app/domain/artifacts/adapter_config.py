"""`adapter_config.json`: the settings of a prefix, and the settings that are refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.domain.artifacts.geometry import LIMITS, WIDTH_LIMIT
from app.domain.errors import Fault
from app.domain.strict_json import NotStrictJsonError, quoted, read_object

CONFIG_LIMIT_BYTES: Final = 262_144
VIRTUAL_TOKENS_LIMIT: Final = 65_536
_TEXT_LIMIT: Final = 512
_SUBMODULES_LIMIT: Final = 2  # an encoder and a decoder

PREFIX_TUNING: Final = "PREFIX_TUNING"
CARTRIDGE: Final = "CARTRIDGE"
PEFT_TYPES: Final = (PREFIX_TUNING, CARTRIDGE)
TASK_TYPES: Final = (
    "CAUSAL_LM",
    "FEATURE_EXTRACTION",
    "QUESTION_ANS",
    "SEQ_2_SEQ_LM",
    "SEQ_CLS",
    "TOKEN_CLS",
)

_OTHER_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT"), "soft prompt"),
    **dict.fromkeys(("LORA", "ADALORA", "LOHA", "LOKR", "VERA", "XLORA"), "low-rank update"),
    "ADAPTION_PROMPT": "LLaMA-Adapter",
    "IA3": "rescaling of activations",
}

# Settings that make PEFT import, open or replace something other than the prefix.
_CHANGES_LOADING: Final[Mapping[str, str]] = {
    "auto_mapping": "makes PEFT import the library it names",
    "modules_to_save": "makes PEFT replace modules of the base model",
    "prompt_tuning_init_state_dict_path": "makes PEFT open the path it names",
}


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """The settings of a prefix; None where the file leaves a setting to PEFT.

    `heads` and `token_dim` are those of the key-value cache, except in files that state the query
    heads of a grouped-query base. `projected` means that the tensor is the output of a
    projection, so that training cannot continue from it.
    """

    peft_type: str
    task_type: str | None
    virtual_tokens: int
    base_model_name: str | None
    base_model_revision: str | None
    peft_version: str | None
    frozen_tokens: int | None
    layers: int | None
    heads: int | None
    token_dim: int | None
    submodules: int | None
    projected: bool


def parse_config(data: bytes) -> tuple[AdapterConfig | None, tuple[Fault, ...]]:
    """Return the settings in the file, and all their faults.

    The settings are returned together with their faults if they describe a prefix of known
    length, so that later checks can add faults. Only settings without faults may be used. Unknown
    keys are ignored.
    """
    if len(data) > CONFIG_LIMIT_BYTES:
        message = f"The configuration has {len(data):,} bytes of at most {CONFIG_LIMIT_BYTES:,}."
        return None, (Fault("config-too-large", message),)
    try:
        document = read_object(data)
    except NotStrictJsonError as error:
        return None, (Fault(f"config-{error.problem}", f"The configuration: {error}."),)
    reader = _Reader(document)
    config = _config(reader)
    return config, tuple(reader.faults)


def _config(reader: "_Reader") -> AdapterConfig | None:
    reader.refuse_changes_of_loading()
    peft_type = reader.peft_type()
    virtual_tokens = reader.virtual_tokens()
    frozen_tokens = reader.count("num_frozen_tokens", least=0, limit=VIRTUAL_TOKENS_LIMIT)
    settings = AdapterConfig(
        peft_type=peft_type or "",
        task_type=reader.task_type(),
        virtual_tokens=virtual_tokens or 0,
        base_model_name=reader.text("base_model_name_or_path"),
        base_model_revision=reader.text("revision"),
        peft_version=reader.text("peft_version"),
        frozen_tokens=frozen_tokens,
        layers=reader.count("num_layers", limit=LIMITS["layers"]),
        heads=reader.count("num_attention_heads", limit=LIMITS["attention_heads"]),
        token_dim=reader.count("token_dim", limit=WIDTH_LIMIT),
        submodules=reader.count("num_transformer_submodules", limit=_SUBMODULES_LIMIT),
        projected=reader.flag("prefix_projection"),
    )
    if peft_type is None or virtual_tokens is None:
        return None
    if frozen_tokens is not None and frozen_tokens > virtual_tokens:
        reader.refuse("config-out-of-range", "`num_frozen_tokens` exceeds `num_virtual_tokens`.")
    return settings


class _Reader:
    """Reads one setting after another, and collects their faults."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document
        self.faults: list[Fault] = []

    def refuse(self, code: str, message: str) -> None:
        self.faults.append(Fault(code, message))

    def refuse_changes_of_loading(self) -> None:
        for key, effect in _CHANGES_LOADING.items():
            if self._document.get(key) is not None:
                self.refuse("config-changes-loading", f"`{key}` {effect}. Set it to null.")

    def peft_type(self) -> str | None:
        value = self._document.get("peft_type")
        if isinstance(value, str) and value in PEFT_TYPES:
            return value
        given = "missing" if value is None else quoted(str(value))
        if isinstance(value, str) and value in _OTHER_TYPES:
            given += f" (a {_OTHER_TYPES[value]})"
        self.refuse(
            "config-peft-type",
            f"`peft_type` is {given}; this registry accepts {' and '.join(PEFT_TYPES)}.",
        )
        return None

    def virtual_tokens(self) -> int | None:
        if self._document.get("num_virtual_tokens") is None:
            self.refuse("config-missing-key", "`num_virtual_tokens` is missing.")
            return None
        return self.count("num_virtual_tokens", limit=VIRTUAL_TOKENS_LIMIT)

    def task_type(self) -> str | None:
        value = self.text("task_type")
        if value is not None and value not in TASK_TYPES:
            self.refuse("config-task-type", f"`task_type` must be one of {', '.join(TASK_TYPES)}.")
            return None
        return value

    def count(self, key: str, *, limit: int, least: int = 1) -> int | None:
        value = self._document.get(key)
        # In Python bool is a kind of int, but `true` is not a count.
        if value is not None and type(value) is not int:
            self.refuse("config-wrong-type", f"`{key}` is not an integer.")
            return None
        if value is not None and not least <= value <= limit:
            self.refuse(
                "config-out-of-range",
                f"`{key}` is {value}; it must lie between {least} and {limit:,}.",
            )
            return None
        return value

    def flag(self, key: str) -> bool:
        value = self._document.get(key)
        if value is not None and not isinstance(value, bool):
            self.refuse("config-wrong-type", f"`{key}` is neither true nor false.")
        return value is True

    def text(self, key: str) -> str | None:
        value = self._document.get(key)
        if value is not None and not isinstance(value, str):
            self.refuse("config-wrong-type", f"`{key}` is not a string.")
            return None
        if value is not None and not _is_safe(value):
            self.refuse(
                "config-unsafe-text",
                f"`{key}` must be at most {_TEXT_LIMIT} printable characters without '<' and '>'.",
            )
            return None
        return value


def _is_safe(text: str) -> bool:
    # Control and bidirectional characters can forge the display of terminals, logs and pages.
    return len(text) <= _TEXT_LIMIT and text.isprintable() and not {"<", ">"} & set(text)
