"""How far a model's outputs move where one layer has other weights: measured on a few examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from prunery.core import ranks
from prunery.core.context import ScoringContext, call_on, first_tensor, running, stand_ins_of
from prunery.core.grams import Moment, examples_in, inputs_of
from prunery.core.layers import Layer
from prunery.core.matrices import matrix_of
from prunery.forward import StandIns, eval_mode


class ChangedOutputs:
    """The outputs of the context's masked model on at least `images` examples, in whole batches."""

    def __init__(self, q: ScoringContext, *, images: int) -> None:
        self._q, self._stand_ins = q, stand_ins_of(q)
        self._seen = list(_until(q, images))
        self._outputs = [self._output(self._stand_ins, x) for x in self._seen]
        self._spread = torch.cat([y.flatten() for y in self._outputs]).var()

    def __call__(self, layer: Layer, weight: Tensor, seen: Moment) -> float:
        """Return the mean squared change of the outputs over their variance, where the layer has this weight.

        weight: shaped like the layer's. seen: what enters the layer; where its bias or the batch norm behind
        it can make up for a shift of its outputs, it does. Of several ranks it is the mean.
        """
        changed = {**self._stand_ins, **self._changed(layer, weight, seen)}
        pairs = zip(self._seen, self._outputs, strict=True)
        change = sum(float(mse_loss(self._output(changed, x), y, reduction="sum")) for x, y in pairs)
        spread = float(self._spread.clamp_min(torch.finfo(torch.float32).tiny))
        count = sum(y.numel() for y in self._outputs)
        change, count = ranks.total(self._q, {}, change / spread, count)
        return change / count

    def _changed(self, layer: Layer, weight: Tensor, seen: Moment) -> StandIns:
        own, matrix = self._stand_ins[id(layer.parameter)], matrix_of(layer)
        moved = matrix.of(weight - own.to(weight))
        shift = (moved @ seen.mean.to(moved)[:, :, None]).reshape(-1)
        changed = {id(layer.parameter): weight.to(own)}
        for tensor, sign in ((seen.bias, -1), (seen.running_mean, 1)):
            if tensor is not None:
                mean = self._stand_ins[id(tensor)]
                changed[id(tensor)] = mean + sign * shift.to(mean)
        return changed

    def _output(self, stand_ins: StandIns, x: Any) -> Tensor:
        args, kwargs = call_on(x, self._q.where())
        with eval_mode(self._q.model), running(self._q, stand_ins) as model, torch.no_grad():
            return first_tensor(model(*args, **kwargs)).float()


def _until(q: ScoringContext, images: int) -> Iterator[Any]:
    """Yield batches of inputs until they hold so many examples."""
    seen = 0
    for x in inputs_of(q):
        yield x
        seen += examples_in(x)
        if seen >= images:
            return
