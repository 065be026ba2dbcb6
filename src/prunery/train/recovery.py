"""What happens to the surviving weights after a cut: rows are data that say what to reset and what to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prunery.errors import ChoiceError
from prunery.registry import Registry

recovery: Registry = Registry("recovery")


@dataclass(frozen=True)
class Recovery:
    """What to do with the survivors; the masks stay in force throughout."""

    reset: Literal["nothing", "init", "reinit"]
    """nothing; init: back to their values at initialisation; reinit: fresh values from another draw."""
    train: bool
    """Whether a training phase follows."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the study's training (see `settings.merged`)."""
    estimate: bool = False
    """Whether batch norm's statistics are estimated anew, without training."""


@recovery.add(source="the network as the cut leaves it")
def none() -> Recovery:
    """Nothing: the survivors keep their values and are not trained."""
    return Recovery("nothing", train=False)


@recovery.add(source="Han et al. 2015, Learning both weights and connections, section 3")
def finetune(*, training: Mapping[str, Any] | None = None) -> Recovery:
    """Train on from the surviving values, with a fresh optimiser and learning-rate schedule."""
    return Recovery("nothing", train=True, training=training or {})


@recovery.add(source="Frankle and Carbin 2019, The lottery ticket hypothesis; Frankle et al. 2020, section 2")
def rewind(*, to: int = 0, training: Mapping[str, Any] | None = None) -> Recovery:
    """Set the survivors back to their values at initialisation (`to=0`), then train.

    Frankle et al. 2020 also rewind to an early iteration; only 0 is available, anything else raises.
    """
    if to != 0 or isinstance(to, bool):
        raise ChoiceError(f"recovery rewind(to={to!r})", "only initialisation can be rewound to", "use to=0")
    return Recovery("init", train=True, training=training or {})


@recovery.add(source="Liu et al. 2019, Rethinking the value of network pruning, section 3 (from scratch)")
def reinit(*, training: Mapping[str, Any] | None = None) -> Recovery:
    """Give the survivors fresh random values under the same masks, then train."""
    return Recovery("reinit", train=True, training=training or {})


@recovery.add(source="Li et al. 2020, EagleEye, section 3.3 (adaptive batch normalisation)")
def bn() -> Recovery:
    """Estimate batch norm's means and variances anew on training images; no weight is trained."""
    return Recovery("nothing", train=False, estimate=True)
