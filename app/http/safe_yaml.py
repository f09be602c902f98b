"""Reading untrusted YAML: JSON's data model, without merge keys or implicit types."""

import re

import yaml

from app.domain.errors import MalformedRequestError


class _Loader(yaml.SafeLoader):
    """Loads only JSON's data types, with the rules of YAML 1.2.

    YAML 1.1 reads the locale `no` as false and 2026-03-01 as a date, and its nested merge keys
    grow exponentially.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - typed by the class above

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Ignore merge keys."""


_TAG = "tag:yaml.org,2002:"
_WORDS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
}
for _name, (_pattern, _first) in _WORDS.items():
    _firsts = [*_first, ""] if _name == "null" else [*_first]
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _firsts)


def yaml_value(body: bytes) -> object:
    """Return the value of a YAML document.

    Raises:
        MalformedRequestError: The body is not exactly one valid document.
    """
    try:
        return _Loader(body).get_single_data()
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # Text that does not match its tag, such as `!!bool perhaps` or `!!int ''`, raises errors
        # other than YAMLError.
        raise MalformedRequestError("The body is not valid YAML.") from error
