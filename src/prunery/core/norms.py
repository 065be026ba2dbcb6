"""Which norm follows which layer, channel for channel.

With an example the model is run once, and each tensor that a layer makes carries the numbers of the filters
that its elements come from, through functions that keep filters apart; a norm reads them off. Without one the
graph is traced symbolically (see `norms_traced`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prunery.core.channels import NORMS, PRODUCTS, carried, norm_channels, of_product
from prunery.core.context import ScoringContext, run_quietly
from prunery.core.norms_traced import traced
from prunery.core.units import Member
from prunery.errors import NormWarning
from prunery.forward import StandIns, stand_ins_for
from prunery.wrappers import named_parameters

Riders = dict[str, list[Member]]

_KINDS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def followers(context: ScoringContext, filters: Mapping[str, Member]) -> Riders:
    """Return, per layer name, the scales and shifts of the norms that normalise its filters and nothing else.

    filters: the slices of each layer's weight that its filters own. A norm over other axes, one that follows
    several layers or a sum, is left out: it lives as long as any of its inputs does. Warns (NormWarning) of a
    norm without scale and shift that makes something of a removed filter.

    EvidenceError: the model has norms, no example was given and it cannot be traced.
    """
    runnable = context.example is not None or context.batches is not None
    if not runnable:
        has_norms = any(isinstance(module, _KINDS) for module in context.model.modules())
        return traced(context.model, context.layers, _KINDS) if has_norms else {}
    stand_ins = stand_ins_for(context.model, context.masks, context.where())
    with _Watch(context, filters, stand_ins) as watch:
        run_quietly(context, stand_ins)
    for layer in sorted(watch.unsilenced):
        _warn(layer)
    riders: Riders = watch.riders()
    return riders


def _warn(layer: str) -> None:
    warnings.warn(
        f"the filters of {layer!r} are normalised without scale and shift: a removed filter is not 0 behind "
        "that norm until its statistics are estimated again (recovery bn), or the model is trained",
        NormWarning,
        stacklevel=2,
    )


@dataclass(frozen=True)
class _Labelled:
    """A tensor (kept, so that its id stays its own), and the filter of `layer` that each element is of."""

    tensor: Tensor
    layer: str
    filters: Tensor
    weight: bool = False  # whether it is the layer's weight, perhaps transposed


class _Watch(TorchFunctionMode):
    """Notes which filters the elements of each tensor come from, and which norms read them."""

    def __init__(self, context: ScoringContext, filters: Mapping[str, Member], stand_ins: StandIns) -> None:
        super().__init__()
        named = named_parameters(context.model, once=True)
        self.parameters = {id(stand_ins[id(p)]): name for name, p in named}
        self.labels: dict[int, _Labelled] = {}
        self.uses: dict[str, list[tuple[str, Tensor] | None]] = {}
        self.unsilenced: set[str] = set()
        for layer in context.layers:
            weight = stand_ins[id(layer.parameter)]
            if layer.name in filters:
                numbers = filters[layer.name].numbers(weight.device)
                self.labels[id(weight)] = _Labelled(weight, layer.name, numbers, weight=True)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function, and label what comes out of it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        if name in NORMS:
            self._note_norm(name, args, kwargs)
        operands = [(i, self.labels[id(a)]) for i, a in enumerate(args) if id(a) in self.labels]
        output = func(*args, **kwargs)
        self._forget_written(getattr(func, "__name__", ""), args, kwargs)
        weights = [(place, known) for place, known in operands if known.weight]
        if name in PRODUCTS and weights:
            place, known = weights[0]
            self._label(output, known.layer, of_product(name, place, known.filters, output))
        elif operands and operands[0][0] == 0:
            known = operands[0][1]
            labels = carried(func, name, known.filters, args, kwargs, output)
            self._label(output, known.layer, labels, weight=known.weight)
        return output

    def _label(self, output: Any, layer: str, labels: Any, *, weight: bool = False) -> None:
        several = isinstance(output, tuple | list)
        outputs = output if several else [output]
        for tensor, own in zip(
            outputs, labels if isinstance(labels, tuple | list) else [labels], strict=False
        ):
            if isinstance(tensor, Tensor) and isinstance(own, Tensor) and own.shape == tensor.shape:
                self.labels[id(tensor)] = _Labelled(tensor, layer, own, weight)

    def _forget_written(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forget what shares memory with a tensor that was written into."""
        method = name.endswith("_") and not name.startswith("__")
        in_place = method or (name.startswith("__i") and name != "__invert__") or name == "__setitem__"
        target = kwargs.get("out", args[0] if in_place and args else None)
        if isinstance(target, Tensor):
            memory = target.untyped_storage().data_ptr()
            for key, known in list(self.labels.items()):
                if known.tensor.untyped_storage().data_ptr() == memory:
                    del self.labels[key]

    def _note_norm(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the filters behind each channel of a norm, for its scale and its shift."""
        x = args[0] if args else kwargs.get("input")
        others = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t is not x]
        names = [self.parameters[id(t)] for t in others if id(t) in self.parameters]
        known, channels = self.labels.get(id(x)), None
        if known is not None:
            shape = args[1] if len(args) > 1 else kwargs.get("normalized_shape")
            channels = norm_channels(name, known.filters, shape)
        for parameter in names:
            use = (known.layer, channels) if known is not None and channels is not None else None
            self.uses.setdefault(parameter, []).append(use)
        # without statistics kept from before, a filter that is 0 stays 0 in a batch or instance norm
        shifts = name in ("layer_norm", "group_norm") or (name == "batch_norm" and bool(others))
        if known is not None and channels is not None and not names and shifts:
            self.unsilenced.add(known.layer)

    def riders(self) -> Riders:
        """Return the scales and shifts whose every use was on the same filters of one layer."""
        riders: Riders = {}
        for parameter, uses in self.uses.items():
            first = uses[0]
            if first is None or not all(
                use and use[0] == first[0] and torch.equal(use[1], first[1]) for use in uses
            ):
                continue
            index = (first[1].long() - 1).reshape(-1)
            shape = tuple(first[1].shape)
            riders.setdefault(first[0], []).append(
                Member(parameter, shape, index=index, counted=False, scored=False)
            )
        return riders
