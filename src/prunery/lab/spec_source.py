"""Where a spec comes from: a YAML file, a named study or a Python function; and `a.b=value` overrides."""

from __future__ import annotations

import importlib
import re
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import ValidationError

from prunery.core.granularity import granularity
from prunery.errors import ChoiceError, PruneryError, SpecError
from prunery.lab import yaml
from prunery.lab.limits import MOST_TEXT
from prunery.registry import Choice, Registry, nearest
from prunery.user_code import contained

_USUAL = {"granularity": "weight", "recovery": "finetune"}  # where only options are set
STUDIES = "prunery.studies"  # named, not imported: studies stand above the lab


def read(source: str, scale: str | None = None) -> tuple[Any, str]:
    """Return what the source holds (plain data, a Spec or a tuple of Specs), and how errors shall name it.

    SpecError if it holds nothing, or is given a scale and no named study. A function's own ValidationError
    passes: only the caller knows what a Spec is.
    """
    if source.startswith("study:"):
        return _study(source, scale)
    if scale is not None:
        raise SpecError(
            f"--scale {scale} for {source}", "only named studies have scales", "leave --scale out"
        )
    path, colon, function = source.rpartition(":")
    if colon and path.endswith(".py"):
        return _called(Path(path), function), source
    return yaml.read(_text(source), source=source), source


def stem(source: str) -> str:
    """Return the name of a study that does not give one itself."""
    text = source.removeprefix("study:")
    path, colon, function = text.rpartition(":")
    name = function if colon and path.endswith(".py") else Path(text).stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "study"


def names() -> tuple[str, ...]:
    """Return the named studies."""
    return tuple(_table())


def overridden(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the data with each `a.b=value` set; lists are counted, as `methods.0.floor`."""
    changed: dict[str, Any] = _unshared(data)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path.strip():
            raise SpecError(
                f"--set {override}", "it is not of the form a.b=value", "write --set task.data=digits"
            )
        steps = re.sub(r"\[(\d+)\]", r".\1", path.strip()).split(".")
        _set(changed, steps, yaml.value(text), override)
    return changed


def _set(data: Any, steps: Sequence[str], value: Any, override: str) -> None:
    part = data
    for step in steps[:-1]:
        key = _key(part, step, override)
        if isinstance(part[key], str):
            part[key] = {"name": part[key]}  # a choice by its name may be given an option
        part = part[key]
    part[_key(part, steps[-1], override)] = value


def _key(part: Any, step: str, override: str) -> Any:
    """Return the key or index that the step names; a key that is not there yet is made."""
    if isinstance(part, dict):
        part.setdefault(step, _usual(part, step))
        return step
    if isinstance(part, list) and step.isdigit() and int(step) < len(part):
        return int(step)
    where = f"a list of {len(part)}" if isinstance(part, list) else repr(part)
    raise SpecError(
        f"--set {override}", f"there is no {step!r} in {where}", "name a key or an index that is there"
    )


def _usual(part: Mapping[str, Any], key: str) -> Any:
    """Return what an option is set of where the key is not there: the usual choice, or an empty mapping."""
    if key != "scope":
        return _USUAL.get(key, {})
    try:
        facts = granularity[Choice.parse(part.get("granularity", "weight")).name].facts
    except PruneryError:  # it is said when the spec is read
        facts = {}
    choice = Choice.parse(facts.get("scope", "global"))
    return {"name": choice.name, **choice.options}


def _unshared(data: Any) -> Any:
    """Return a copy in which no part stands twice, as YAML's aliases do."""
    if isinstance(data, Mapping):
        return {k: _unshared(v) for k, v in data.items()}
    return [_unshared(v) for v in data] if isinstance(data, list | tuple) else data


def _text(source: str) -> str:
    path = Path(source)
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MOST_TEXT + 1)
    except FileNotFoundError:
        known = [*names(), *(str(p) for p in path.parent.glob("*.yaml"))] if path.parent.is_dir() else names()
        hint = f"; did you mean 'study:{source}'?" if source in names() else nearest(source, known)
        raise SpecError(
            f"the spec {source!r}",
            f"there is no such file{hint}",
            f"name a YAML file, file.py:function, or a study: {', '.join(f'study:{n}' for n in names())}",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the spec {source!r}", f"it cannot be read: {error}", "name a YAML file") from None


def _table() -> Registry:
    table = importlib.import_module(STUDIES).study
    assert isinstance(table, Registry)
    return table


def _study(source: str, scale: str | None) -> tuple[Any, str]:
    """Return what the study's function gives: a spec, or of a study in parts the one named or all."""
    name, _, part = source.removeprefix("study:").partition("/")
    bound = _table().bind(Choice(name, {} if scale is None else {"scale": scale}))
    if scale is not None:
        _check_scale(name, scale, get_args(get_type_hints(bound.row.function)["scale"]))
    parts = bound()
    if not isinstance(parts, Mapping):
        parts = {"": parts}
    if part and part not in parts:
        known = [key for key in parts if key]
        what = f"it has the parts {', '.join(known)}" if known else "it has no parts"
        raise SpecError(f"part {part!r} of study {name!r}", what + nearest(part, known), "name one of them")
    return (parts[part] if part else tuple(parts.values())), source


def _check_scale(name: str, scale: str, known: Sequence[str]) -> None:
    if scale not in known:
        found = f"the study {name!r} has none of that name{nearest(scale, known)}"
        raise ChoiceError(f"scale {scale!r}", found, f"choose one of: {', '.join(known)}")


def _called(path: Path, function: str) -> Any:
    label = f"{path}:{function}"
    if not path.is_file():
        raise SpecError(label, f"there is no file {str(path)!r}", "name a Python file")
    try:
        with contained():
            defined = runpy.run_path(str(path), run_name=path.stem)
    except (Exception, SystemExit) as error:
        raise SpecError(label, f"the file raises {type(error).__name__}: {error}", "correct it") from error
    if not callable(defined.get(function)):
        known = [name for name, value in defined.items() if callable(value) and not name.startswith("_")]
        raise SpecError(
            label, f"there is no function {function!r}{nearest(function, known)}", "name one that is there"
        )
    try:
        with contained():
            return defined[function]()
    except (PruneryError, ValidationError):
        raise
    except (Exception, SystemExit) as error:
        raise SpecError(
            label, f"the function raises {type(error).__name__}: {error}", "correct it"
        ) from error
