"""Reading untrusted YAML: JSON's data model, in which every value stands where it is read."""

import math
import re
import unicodedata
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from app.domain.errors import MalformedRequestError
from app.domain.strict_json import quoted

_TAG = "tag:yaml.org,2002:"
_MERGE_KEY = "<<"
_DEPTH_LIMIT = 64
_NODES_LIMIT = 10_000


class _RefusedError(ValueError):
    """The document may not be read, for a reason that the message gives with its place."""


class _Loader(yaml.SafeLoader):
    """Loads only JSON's data types, with the rules of YAML 1.2.

    YAML 1.1 reads the locale `no` as false and 2026-03-01 as a date. Repeated keys are an error:
    parsers differ in which value they take. So are merge keys and tags, which put values where a
    reader does not see them. An alias may repeat a value that is written out: no key, no value
    that contains an alias. So it hides nothing, and nothing grows exponentially.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - typed by the class above

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[str | None] = []  # the anchors of the nodes that are being composed
        self._with_alias: set[str] = set()
        self._keys: dict[int, dict[str, Node]] = {}
        self._nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:  # noqa: ANN401
        """Return the next node. A key of a mapping has no index; its value has it as one."""
        event = self.peek_event()  # type: ignore[no-untyped-call] # types-PyYAML omits it
        if isinstance(event, yaml.AliasEvent):
            self._require_repeatable(event)
        elif event.tag is not None:
            raise _RefusedError(f"{_place(event)} has a tag; leave it out")
        if len(self._open) >= _DEPTH_LIMIT:
            raise _RefusedError(f"{_place(event)} is nested deeper than {_DEPTH_LIMIT} levels")
        self._nodes += 1
        if self._nodes > _NODES_LIMIT:
            raise _RefusedError(f"{_place(event)} has more than {_NODES_LIMIT} keys and values")
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        if isinstance(parent, MappingNode) and index is None and node is not None:
            if event.anchor is not None:
                raise _RefusedError(
                    f"{_place(event)} has an anchor or alias on a key; write the key out"
                )
            self._require_new(node, parent)
        return node

    def _require_repeatable(self, alias: yaml.AliasEvent) -> None:
        if alias.anchor in self._with_alias or alias.anchor in self._open:
            raise _RefusedError(f"{_place(alias)} repeats a value with an alias; write it out")
        self._with_alias.update(anchor for anchor in self._open if anchor is not None)

    def _require_new(self, key: Node, mapping: MappingNode) -> None:
        """Check a key as soon as it is read: a long document is not read to its end."""
        _require_plain(key)
        keys = self._keys.setdefault(id(mapping), {})
        same = keys.setdefault(unicodedata.normalize("NFC", key.value), key)
        if same is not key:
            raise _RefusedError(
                f"{_place(key)} repeats the key {quoted(key.value)} of "
                f"{_place(same).lower()} keep one of them"
            )

    def flatten_mapping(self, node: MappingNode) -> None:
        """Ignore merge keys, which are refused before."""


def _require_plain(key: Node) -> None:
    if not isinstance(key, ScalarNode) or key.tag != f"{_TAG}str":
        raise _RefusedError(f"{_place(key)} has a key that is no text; put it in quotes")
    if key.value == _MERGE_KEY:
        raise _RefusedError(f"{_place(key)} has a merge key; write the values out")


def _place(found: Node | yaml.Event) -> str:
    mark = found.start_mark
    return "" if mark is None else f"Line {mark.line + 1}, column {mark.column + 1},"


def _finite(loader: _Loader, node: ScalarNode) -> float:
    number = loader.construct_yaml_float(node)
    if not math.isfinite(number):
        raise _RefusedError(f"{_place(node)} has a number that is too large")
    return number


_WORDS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
}
for _name, (_pattern, _first) in _WORDS.items():
    _firsts = [*_first, ""] if _name == "null" else [*_first]
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _firsts)
_Loader.add_constructor(f"{_TAG}float", _finite)


def yaml_value(body: bytes) -> object:
    """Return the value of a YAML document.

    Raises:
        MalformedRequestError: The body is not exactly one valid document in UTF-8, or contains
            a repeated key, a key that is no text, a merge key, a tag, an alias of a key or of a
            value with an alias, nesting deeper than 64 levels, or more than 10,000 keys and values.
            The message names the place.
    """
    try:
        return _Loader(body.decode("utf-8")).get_single_data()
    except _RefusedError as error:
        raise MalformedRequestError(f"The YAML is refused: {error}.") from error
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"Byte {error.start} of the YAML is not UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        place = "" if error.problem_mark is None else f" at line {error.problem_mark.line + 1}"
        raise MalformedRequestError(f"The body is not valid YAML{place}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise MalformedRequestError("The body is not valid YAML.") from error
