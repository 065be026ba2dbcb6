"""Strict YAML: what looks like a number is one, only true and false are truth values, no key stands twice.

PyYAML follows YAML 1.1, where `1e-3` is a text, `no` and `on` are truth values, `1:30` is ninety and a
repeated key silently wins. Here `1e-3` is the number, `no` and `1:30` are texts, and a repeated key is an
error with its line. Dates stay texts.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from prunery.errors import SpecError

_RESOLVERS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    "float": (
        r"[-+]?(?:\d[0-9_]*\.[0-9_]*(?:[eE][-+]?\d+)?|\.\d[0-9_]*(?:[eE][-+]?\d+)?|\d[0-9_]*[eE][-+]?\d+"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "merge": (r"<<", "<"),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the resolvers above, refusing repeated keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # keys merged in may be overridden
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list", key_node.start_mark)
            if key in seen:
                raise _RepeatedKeyError(str(key), line, seen[key])
            seen[key] = line
        return super().construct_mapping(node, deep)


class _RepeatedKeyError(Exception):
    """A key that stands twice: the key and both lines."""


for _tag, (_pattern, _first) in _RESOLVERS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))


def read(text: str, *, source: str) -> Any:
    """The data that the YAML `text` spells; SpecError names `source` and the line of what is wrong."""
    try:
        return yaml.load(text, _Loader)
    except _RepeatedKeyError as error:
        key, line, first = error.args
        raise SpecError(
            f"{source}: line {line}: key {key!r}",
            f"it stands on line {first} already",
            "keep one of the two",
        ) from None
    except yaml.YAMLError as error:
        raise SpecError(*_located(source, error), "correct the YAML there") from None


def value(text: str) -> Any:
    """The value that `text` spells as YAML, as in `--set a.b=text`; text that is no YAML stays text."""
    try:
        return yaml.load(text, _Loader)
    except (_RepeatedKeyError, yaml.YAMLError):
        return text


def _located(source: str, error: yaml.YAMLError) -> tuple[str, str]:
    mark = getattr(error, "problem_mark", None)
    where = f"{source}: line {mark.line + 1}" if mark else source
    return where, f"it is not YAML: {getattr(error, 'problem', None) or error}"
