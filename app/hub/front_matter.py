"""The declarations in a pushed repository: its base model and its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.domain.errors import Fault, InvalidRequestError, MalformedRequestError
from app.domain.naming import Json
from app.domain.strict_json import NotStrictJsonError, read_object
from app.http.safe_yaml import yaml_value

_FENCE: Final = "---"
_CARD_LIMIT_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Declared:
    """The base model, by digest if the README has it, and the author's declarations."""

    base_digest: str | None
    base_name: str | None
    base_revision: str | None
    card: Mapping[str, Json]


def declared_in(config: bytes, readme: bytes) -> Declared:
    """Return the declarations in `adapter_config.json` and the README's front matter.

    The push validates the configuration itself later.

    Raises:
        InvalidRequestError: The front matter is not valid YAML.
    """
    settings = _json_object(config)
    front = _front_matter(readme)
    return Declared(
        base_digest=_text(front.get("base_digest")),
        base_name=_text(settings.get("base_model_name_or_path")),
        base_revision=_text(settings.get("revision")),
        card=_card(front),
    )


def _card(front: Mapping[str, Any]) -> dict[str, Json]:
    """Return the card: PEFT's template has `license`; the other fields are the registry's own."""
    card: dict[str, Json] = {}
    if licence := _text(front.get("license")):
        card["licence"] = licence
    for name in ("intended_purpose", "personal_data", "known_limits"):
        if text := _text(front.get(name)):
            card[name] = text
    uses = front.get("uses")
    if isinstance(uses, list):
        card["uses"] = [use for use in uses if isinstance(use, str)]
    datasets = front.get("datasets")
    if isinstance(datasets, list):
        card["training_data"] = [{"name": name} for name in datasets if isinstance(name, str)]
    return card


def _front_matter(readme: bytes) -> dict[str, Any]:
    text = readme[:_CARD_LIMIT_BYTES].decode("utf-8", "replace")
    lines = text.splitlines()
    if not lines or lines[0].strip() != _FENCE or _FENCE not in lines[1:]:
        return {}
    # An empty line stands for the fence, so that messages have the line numbers of the file.
    body = "\n".join(["", *lines[1 : lines.index(_FENCE, 1)]])
    try:
        front = yaml_value(body.encode())
    except MalformedRequestError as error:
        message = f"The front matter of README.md cannot be read. {error.detail}"
        raise InvalidRequestError(message, [Fault("front-matter", message)]) from error
    return front if isinstance(front, dict) else {}


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        return read_object(data)
    except NotStrictJsonError:
        return {}  # the push refuses it with a precise message


def _text(value: object) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip().isprintable() else None
