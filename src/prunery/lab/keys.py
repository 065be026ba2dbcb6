"""The content key of a step: a hash of its kind, what the kind means, its arguments and its parents' keys.

Arguments at their default do not enter the key; where a store lies and how many workers run are no arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from prunery.lab.canonical import canonical
from prunery.train.settings import STORED, Training, default_of

Kind = Literal["init", "train", "prune", "recover", "measure"]
SETTINGS = {*Training.model_fields, *STORED.values()}
"""Of a training, by all names that they have or had."""

# Raised by hand when a kind's results change for equal arguments: old records are then not found any more.
MEANING: dict[Kind, int] = {"init": 1, "train": 2, "prune": 1, "recover": 2, "measure": 2}

# A released default never changes: these do not enter the key.
DEFAULTS: dict[str, Any] = {
    "threads": 1,
    "classes": None,
    "images": None,
    "validation": 0.1,
    "granularity": "weight",
    "scope": "global",
    "schedule": "one_shot",
    "exclude": [],
    "include": [],
    "floor": 0.0,
    "reset": "nothing",
    "phase": 0,
    "estimate": False,
    "sanity": None,
    "corruptions": [],
    "forms": [],
    "test_curves": False,
}


def key_of(kind: Kind, args: Mapping[str, Any], parents: tuple[str, ...]) -> str:
    """Return the step's key: 16 hex digits of sha256 over its kind, meaning, arguments and parents."""
    return digest(_text(kind, MEANING[kind], args, parents))


def is_key_of(key: object, kind: object, args: Mapping[str, Any], parents: Sequence[str]) -> bool:
    """Return whether a step of these contents has that key, or had it when its kind meant something else."""
    training = args.get("training", {})
    if kind not in MEANING or not isinstance(training, Mapping) or not {*training} <= SETTINGS:
        return False
    try:
        return any(key == digest(_text(kind, m, args, parents)) for m in range(MEANING[kind], 0, -1))
    except (RecursionError, UnicodeEncodeError):  # nested too deeply, or half a character
        return False


def digest(text: str) -> str:
    """Return 16 hex digits of the text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def training_without_defaults(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that differ from their defaults."""
    return {k: v for k, v in training.items() if _settled(v) != default_of(k)}


def _text(kind: object, meaning: int, args: Mapping[str, Any], parents: Sequence[str]) -> str:
    return canonical([kind, meaning, _without_defaults(args), list(parents)])


def _without_defaults(args: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in args.items() if k not in DEFAULTS or v != DEFAULTS[k]}
    if "training" in kept:
        kept["training"] = training_without_defaults(kept["training"])
    return kept


def _settled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
