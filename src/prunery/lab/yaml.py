"""Strict YAML: what looks like a number is one, only true and false are truth values, no key stands twice.

PyYAML follows YAML 1.1, where `1e-3` is a text, `no` and `on` are truth values, `1:30` is ninety and a
repeated key silently wins. Here `1e-3` is the number, `no` and `1:30` are texts, and a repeated key is an
error with its line. Dates stay texts.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from prunery.errors import SpecError
from prunery.lab.limits import DEEPEST, MOST_PARTS, MOST_TEXT, check_text, shown

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


_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the resolvers above, refusing repeated keys and what is too large."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _TAGS
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, _DEEP, mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _size(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            tag = node.tag.rpartition(":")[2]
            problem = f"{shown(node.value)} cannot be read as {tag}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

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


_DEEP = f"it is nested more than {DEEPEST} deep"


def _size(node: yaml.Node, known: dict[yaml.Node, int | None]) -> int:
    """Return how many parts a node has, counting what several places share in each of them."""
    if node in known:
        size = known[node]
        if size is None:
            raise yaml.composer.ComposerError(None, None, "it holds itself", node.start_mark)
        return size
    known[node] = None
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
    known[node] = size = 1 + sum(_size(part, known) for part in parts)
    if size > MOST_PARTS:
        raise yaml.composer.ComposerError(None, None, f"it has more than {MOST_PARTS} parts", node.start_mark)
    return size


class _RepeatedKeyError(Exception):
    """A key that stands twice: the key and both lines."""


for _tag, (_pattern, _first) in _RESOLVERS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))


def read(text: str, *, source: str) -> Any:
    """The data that the YAML `text` spells; SpecError names `source` and the line of what is wrong."""
    check_text(text, source)
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
        return yaml.load(text, _Loader) if len(text) <= MOST_TEXT else text
    except (_RepeatedKeyError, yaml.YAMLError):
        return text


def _located(source: str, error: yaml.YAMLError) -> tuple[str, str]:
    mark = getattr(error, "problem_mark", None)
    where = f"{source}: line {mark.line + 1}" if mark else source
    return where, f"it is not YAML: {getattr(error, 'problem', None) or error}"
