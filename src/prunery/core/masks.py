"""Masks beside an ordinary model: a mapping from parameter name to a bool tensor, True = kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from prunery import atomic
from prunery.core import masks_file
from prunery.core.bits import clear_, nonzero, one_thread, revived
from prunery.core.layers import all_layers, prunable
from prunery.core.validate import by_name
from prunery.errors import MasksError
from prunery.wrappers import named_parameters, parameter_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prunery.core.coverage import Coverage


NO_UNITS = (0, 0)
"""Units (kept, total) of a layer that has none of its own: its weights are slices of other layers' units."""


@dataclass(frozen=True)
class LayerMask:
    """What is left of one layer, in weights and in units (a filter is a unit of many weights)."""

    name: str
    shape: tuple[int, ...]
    kept: int
    total: int
    units_kept: int
    units_total: int

    @property
    def sparsity(self) -> float:
        """Removed weights / all weights of this layer."""
        return 1 - self.kept / self.total


class Masks(Mapping[str, Tensor]):
    """Masks of a model's parameters; immutable.

    masks: bool tensors shaped like their parameters. uncounted: names that follow a removed unit (a bias, a
    batch norm's scale) and are masked without counting. units: (kept, total) of each unit set whose
    units are not single weights, by its name; (0, 0) for a layer that has none of its own.
    """

    coverage: Coverage | None = None
    """What `prune` found prunable and out of reach; None for masks that it did not make."""

    def __init__(
        self,
        masks: Mapping[str, Tensor],
        *,
        uncounted: Sequence[str] = (),
        units: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self._masks = by_name(masks)
        self.uncounted = frozenset(uncounted)
        self.units = dict(units or {})
        self._kept: dict[str, int] = {}
        for name, mask in self._masks.items():
            if mask.dtype is not torch.bool:
                raise MasksError(
                    f"a mask for {name!r}", f"it is {mask.dtype}", "give bool tensors, True = kept"
                )

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        """Return whether `other` has the same masks under the same names; the order does not matter."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(mask, other[n]) for n, mask in self.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Masks({self.kept} of {self.total} weights kept, sparsity {self.sparsity:.6g})"

    @property
    def kept(self) -> int:
        """Weights kept."""
        return sum(layer.kept for layer in self.layers())

    @property
    def total(self) -> int:
        """Prunable weights, kept or not."""
        return sum(self._masks[name].numel() for name in self._counted())

    @property
    def sparsity(self) -> float:
        """Removed prunable weights / all prunable weights."""
        return 1 - self.kept / self.total if self.total else 0.0

    def layers(self) -> list[LayerMask]:
        """Per counted parameter: name, shape, weights kept and in total, units kept and in total."""
        rows = []
        for name in self._counted():
            mask = self._masks[name]
            if name not in self._kept:
                self._kept[name] = _count(mask)
            kept = self._kept[name]
            units = self.units.get(name, (kept, mask.numel()))
            rows.append(LayerMask(name, tuple(mask.shape), kept, mask.numel(), *units))
        return rows

    def _counted(self) -> list[str]:
        return [name for name in self._masks if name not in self.uncounted]

    def apply_(self, model: nn.Module) -> None:
        """Set every removed weight of `model` to exactly 0, NaN and infinite ones too."""
        parameters = self._parameters_of(model)
        with torch.no_grad(), one_thread():
            for name, mask in self._masks.items():
                clear_(parameters[name], mask)

    def check(self, model: nn.Module) -> None:
        """Raise MasksError unless each mask has a parameter of its name and shape in `model`.

        What the weights are does not matter; whether the removed ones are 0 is asked with `holds`.
        """
        self._parameters_of(model)

    def _parameters_of(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameter of each mask by its name; raise as `check` does."""
        parameters = {name: parameter_of(model, name) for name in self._masks}
        for name, mask in self._masks.items():
            found = parameters[name].shape
            if found != mask.shape:
                raise _unfit(
                    f"the mask of {name!r} {tuple(mask.shape)}", f"the parameter has shape {tuple(found)}"
                )
        return parameters

    def violations(self, model: nn.Module) -> dict[str, int]:
        """Return how many removed weights of `model` are not 0, by parameter name, where there are any."""
        parameters = self._parameters_of(model)
        counts = {name: _revived(parameters[name], name, mask) for name, mask in self.items()}
        return {name: count for name, count in counts.items() if count}

    def holds(self, model: nn.Module) -> bool:
        """Return whether every removed weight of `model` is 0."""
        return not self.violations(model)

    def verify(self, model: nn.Module) -> None:
        """Raise MasksError, with the counts by parameter, unless every removed weight of `model` is 0."""
        if counts := self.violations(model):
            raise MasksError(
                "a model that is as sparse as its masks",
                "removed weights are not 0: " + ", ".join(f"{count} in {n}" for n, count in counts.items()),
                "call masks.apply_(model), and train within masks.enforce(optimizer, model)",
            )

    def enforce(self, optimizer: Any, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which any training loop keeps `model` sparse; see `prunery.core.enforce`.

        optimizer: torch's, one around another (accelerate's, Lookahead), any object with `step` and
        `param_groups`, or a list of these.
        """
        from prunery.core.enforce import enforced

        self.check(model)
        return enforced(self, optimizer, model)

    def fitted(self, model: nn.Module) -> Masks:
        """Return these masks by the names that `prune` gives to the parameters of `model`.

        Masks may have another name: one made on a wrapped model, or a tied weight's second one.
        """
        self.check(model)
        names = {id(layer.parameter): layer.name for layer in all_layers(model)[0]}
        for name, parameter in named_parameters(model):
            names.setdefault(id(parameter), name)
        new = {name: names[id(parameter_of(model, name))] for name in self}
        if all(name == name_now for name, name_now in new.items()):
            return self
        masks: dict[str, Tensor] = {}
        for name, mask in self.items():
            masks[new[name]] = mask & masks[new[name]] if new[name] in masks else mask
        units = {new.get(name, name): counts for name, counts in self.units.items()}
        return Masks(masks, uncounted=[new[name] for name in self.uncounted], units=units)

    def to(self, device: torch.device | str) -> Masks:
        """The same masks on another device."""
        moved = {n: m.to(device) for n, m in self.items()}
        masks = Masks(moved, uncounted=tuple(self.uncounted), units=self.units)
        masks.coverage = self.coverage
        return masks

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the masks, one bit a weight, to a file without pickle; whole or not at all."""
        atomic.atomic_write(path, masks_file.packed_file(self._masks, self.uncounted, self.units))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Masks:
        """The masks that `save` wrote, on the CPU. Raises MasksError for anything else."""
        masks, uncounted, units = masks_file.read(path)
        return Masks(masks, uncounted=uncounted, units=units)

    @staticmethod
    def of(model: nn.Module, exclude: Sequence[str] = ()) -> Masks:
        """Return the zero pattern of the prunable weights of `model`."""
        layers = prunable(model, exclude)
        for layer in layers:
            _check_values(layer.parameter, layer.name)
        return Masks({layer.name: nonzero(layer.parameter) for layer in layers})


def _revived(parameter: Tensor, name: str, mask: Tensor) -> int:
    _check_values(parameter, name)
    return revived(parameter, mask)


def _check_values(parameter: Tensor, name: str) -> None:
    if parameter.is_meta:
        found = "it is on the meta device, where weights have no values"
        raise MasksError(f"the zeros of {name!r}", found, "build the model on a device with memory")


def _count(mask: Tensor) -> int:
    return int(np.count_nonzero(mask.numpy()) if mask.device.type == "cpu" else mask.count_nonzero())


def _unfit(asked: str, found: str) -> MasksError:
    return MasksError(asked, found, "use the masks with the model that they were made for")
