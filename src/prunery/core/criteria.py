"""Criteria: how much does one weight matter? Each is one line from evidence to a score; larger means keep.

`needs` names the evidence that is gathered for a row; `at` is where the method's paper prunes ("init" or
"trained"); `rounds` the number of exponential rounds it asks for; `examples_per_class` the size of the batch
it is scored on; `signed` that scores may be negative; `norm` how they become the score of
a larger unit, where that is not the granularity's to say; `above` the bounds that numeric options exceed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.errors import EvidenceError
from prunery.registry import Registry

if TYPE_CHECKING:
    import torch

criterion = Registry("criterion")


class Evidence:
    """What is known of one layer's weights: tensors of one shape, read as attributes.

    Only the declared kinds may be read. `slice` gives a piece of the flattened layer, in at least float32,
    so that a formula runs on pieces that fit the cache and half precision loses nothing.
    """

    def __init__(self, layer: str, kinds: dict[str, torch.Tensor]) -> None:
        self._layer, self._kinds = layer, kinds
        self._flat = {kind: tensor.reshape(-1) for kind, tensor in kinds.items()}

    def __getattr__(self, kind: str) -> torch.Tensor:
        if kind.startswith("_") or kind not in self._kinds:
            raise EvidenceError(
                f"evidence {kind!r} for {self._layer!r}",
                f"the criterion declares {' '.join(self._kinds) or 'nothing'}",
                "add it to the row's `needs`",
            )
        return self._kinds[kind]

    def slice(self, lo: int, hi: int) -> Evidence:
        """The same evidence for the weights lo..hi of the flattened layer."""
        pieces = {kind: flat[lo:hi] for kind, flat in self._flat.items()}
        return Evidence(self._layer, {k: t.float() if t.itemsize < 4 else t for k, t in pieces.items()})


@criterion.add(needs="noise", at="trained", norm="first", source="the control: a uniform draw per unit")
def random(e: Evidence) -> torch.Tensor:
    """u, uniform in [0, 1). A larger unit takes its first weight's draw: a sum would favour large units."""
    return e.noise


@criterion.add(needs="weight", at="trained", source="Janowsky 1989; Han et al. 2015, section 3")
def magnitude(e: Evidence) -> torch.Tensor:
    """|w|."""
    return e.weight.abs()


@criterion.add(needs="weight grad", at="init", examples_per_class=10, source="Lee et al. 2019, eq. 4")
def snip(e: Evidence) -> torch.Tensor:
    """|w · dL/dw|, the connection sensitivity; not normalised by its sum, which no selection can see."""
    return (e.weight * e.grad).abs()


@criterion.add(
    needs="weight hessian_grad",
    above={"temperature": 0.0},
    at="init",
    examples_per_class=10,
    signed=True,
    source="Wang et al. 2020, eq. 8",
)
def grasp(e: Evidence, *, temperature: float = 200.0) -> torch.Tensor:
    """w · Hg: weights whose removal would reduce the gradient flow least go last.

    The paper removes the weights with the largest -w · Hg. `temperature` divides the logits where g and Hg
    are gathered (200 in the authors' code).
    """
    return e.weight * e.hessian_grad


@criterion.add(needs="weight flow_grad", at="init", rounds=100, source="Tanaka et al. 2020, eq. 2 and alg. 1")
def synflow(e: Evidence) -> torch.Tensor:
    """|w · dR/dw|, R the sum of outputs on an input of ones with every parameter in absolute value."""
    return (e.weight * e.flow_grad).abs()
