"""Criteria: how much does one weight matter? Each is one formula from evidence to scores; larger means keep.

Facts of a row:
    needs               the evidence that is gathered for it
    at                  where the method's paper prunes: "init" or "trained"
    rounds              the number of exponential rounds that it asks for
    images              how many unlabelled images a study gives it
    examples_per_class  the size of the batch that it is scored on
    signed              scores may be negative
    norm                how they become the score of a larger unit, where that is not the granularity's to say
    above               the bounds that numeric options exceed
    whole               a score depends on the rest of its layer: the row gets all of it, removed weights 0
    of_units            it scores whole units, which are larger than a weight
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prunery.errors import EvidenceError
from prunery.registry import Registry

if TYPE_CHECKING:
    import torch

    from prunery.core.units import Member

criterion = Registry("criterion", stand_in={"needs": "", "at": "trained"})


class Evidence:
    """What is known of one layer's weights: tensors of one shape, read as attributes.

    Only the declared kinds may be read; `module:kind` by its bare name. `slice` gives a piece of the
    flattened layer, in at least float32, so that a formula runs on pieces that fit the cache and half
    precision loses nothing. A criterion of whole layers may ask for its units.
    """

    def __init__(
        self, layer: str, kinds: dict[str, torch.Tensor], member: Member | None = None, count: int = 0
    ) -> None:
        self._layer, self._kinds = layer, kinds
        self._flat = {kind: tensor.reshape(-1) for kind, tensor in self._kinds.items()}
        self._member, self._count = member, count

    def __getattr__(self, kind: str) -> torch.Tensor:
        if kind.startswith("_") or kind not in self._kinds:
            raise _undeclared(kind, self._layer, self._kinds)
        return self._kinds[kind]

    def slice(self, lo: int, hi: int) -> Evidence:
        """Return the same evidence for the weights lo..hi of the flattened layer."""
        return Evidence(self._layer, {kind: _precise(flat[lo:hi]) for kind, flat in self._flat.items()})

    def whole(self, mask: torch.Tensor | None) -> Evidence:
        """Return the evidence of the whole layer, in at least float32 and 0 where the mask removes."""
        kinds = {kind: _precise(tensor) for kind, tensor in self._kinds.items()}
        if mask is not None:
            kinds = {kind: tensor.masked_fill(~mask.to(tensor.device), 0) for kind, tensor in kinds.items()}
        return Evidence(self._layer, kinds, self._member, self._count)

    def by_unit(self, values: torch.Tensor) -> torch.Tensor:
        """Return values shaped like the weight as a matrix (units, weights of a unit)."""
        assert self._member is not None
        return self._member.by_unit(values, self._count)

    def of_units(self, scores: torch.Tensor) -> torch.Tensor:
        """Return scores of units, shape (units,), as a tensor shaped like the weight."""
        assert self._member is not None
        numbers = self._member.numbers(scores.device).long() - 1
        return scores[numbers]


def _undeclared(kind: str, layer: str, declared: Iterable[str]) -> EvidenceError:
    known = " ".join(declared) or "nothing"
    do = "add it to the row's `needs`"
    return EvidenceError(f"evidence {kind!r} for {layer!r}", f"the criterion declares {known}", do)


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.itemsize < 4 else tensor


@criterion.add(needs="noise", at="trained", norm="first", source="the control: a uniform draw per unit")
def random(e: Evidence) -> torch.Tensor:
    """u, uniform in [0, 1). A larger unit takes its first weight's draw: a sum would favour large units."""
    return e.noise


@criterion.add(needs="weight", at="trained", source="Janowsky 1989; Han et al. 2015, section 3")
def magnitude(e: Evidence) -> torch.Tensor:
    """|w|."""
    return e.weight.abs()


@criterion.add(
    needs="weight grad",
    at="trained",
    examples_per_class=10,
    source="Molchanov et al. 2019, eq. 8",
)
def taylor(e: Evidence) -> torch.Tensor:
    """(w · dL/dw)², the squared change of the mean loss, to first order, where the weight is removed."""
    return (e.weight * e.grad).square()


@criterion.add(
    needs="weight fisher",
    at="trained",
    examples_per_class=10,
    source="LeCun et al. 1990 (OBD), eq. 5, with the Fisher diagonal; Theis et al. 2018, eq. 6",
)
def fisher(e: Evidence) -> torch.Tensor:
    """w² · E[(dL/dw)²] / 2, gradients of single examples: a second-order change of the loss."""
    return e.weight.square() * e.fisher / 2


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


@criterion.add(needs="weight", whole=True, at="trained", source="Lee et al. 2021 (LAMP), eq. 1")
def lamp(e: Evidence) -> torch.Tensor:
    """w² over the sum of squares of the layer's weights that are not smaller.

    Weights of one magnitude are ranked by place, so that one weight of each layer has the score 1.
    """
    import torch

    squares = e.weight.reshape(-1).double().square()
    ascending, order = squares.sort(stable=True)
    not_smaller = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = torch.where(not_smaller > 0, ascending / not_smaller, 0.0)
    return scores.view(e.weight.shape)


@criterion.add(
    needs="weight",
    whole=True,
    of_units=True,
    norm="first",
    at="trained",
    source="He et al. 2019 (FPGM), eq. 4: Euclidean distances",
)
def fpgm(e: Evidence) -> torch.Tensor:
    """The sum of a filter's Euclidean distances to the layer's other filters that are left.

    Filters near the geometric median of all say what the others say, and go first.
    """
    import torch

    rows = e.by_unit(e.weight)
    left = rows.any(1)
    distances = torch.cdist(rows, rows[left], compute_mode="donot_use_mm_for_euclid_dist")
    return e.of_units(distances.sum(1))


@criterion.add(needs="weight input_norm", at="trained", images=2048, source="Sun et al. 2024 (Wanda), eq. 1")
def wanda(e: Evidence) -> torch.Tensor:
    """|w| times the root mean square of the input that it multiplies.

    The paper has the input's norm: the same but for a factor that is equal within a layer. It lets the
    weights of each output compete: scope `row`.
    """
    return e.weight.abs() * e.input_norm


@criterion.add(
    needs="removal_loss",
    at="trained",
    images=2048,
    above={"damp": 0.0},
    source="Hassibi and Stork 1993; Frantar and Alistarh 2022 (OBC), alg. 1; 2023 (SparseGPT), alg. 1",
)
def obs(e: Evidence, *, damp: float = 0.01, order: str = "auto", outputs: str = "layer") -> torch.Tensor:
    """What a weight's removal adds to the squared error of outputs, relative to the squared outputs.

    damp: the share of the mean of the Gram's diagonal that is added to it. order: "greedy" removes the
    cheapest weight of a row again and again while the others make up for it (OBC, exact), "columns" goes
    column by column, 128 at a time (SparseGPT), "once" lets nothing make up; "auto" is greedy where that
    takes up to 1e11 multiplications a layer, else columns. outputs: "layer", each layer's own; "model", where
    layers compete: what the model's outputs change by on 64 examples where a layer is pruned by itself says
    how much its own error counts. Only the masks are made here: the recovery `reconstruct` gives the
    survivors their new values.
    """
    return e.removal_loss
