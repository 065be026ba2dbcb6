"""Weights that are hidden behind a parametrization, or that share memory with another parameter."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import prunery
from prunery.errors import CoverageWarning, ModelError

X = torch.randn(2, 6)


class Model(nn.Module):
    """Any modules by name, called one after the other."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x


def names(model, **about):
    return [layer.name for layer in prunery.prunable(model, **about)]


def pruned(model, sparsity=0.5, **about):
    """The masks, and the messages of the warnings that pruning gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masks = prunery.prune(model, sparsity, **about)
    return masks, [str(w.message) for w in caught if w.category is CoverageWarning]


# 3. a layer that is excluded may hide its weights


HIDDEN = {
    "weight_norm": lambda: weight_norm(nn.Linear(6, 6)),
    "new weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
    "spectral_norm": lambda: spectral_norm(nn.Linear(6, 6)),
    "new spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 6)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
    "torch prune": lambda: prune.random_unstructured(nn.Linear(6, 6), "weight", 0.5),
    "lazy": lambda: nn.LazyLinear(6),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("kind", list(HIDDEN))
def test_an_excluded_layer_may_hide_its_weights(kind):
    model = nn.Sequential(nn.Linear(6, 6), HIDDEN[kind]())
    with pytest.raises(ModelError, match=r"1\.weight"):
        prunery.prune(model, 0.5)
    for pattern in ("1", "1.weight", "1*"):
        assert names(model, exclude=[pattern]) == ["0.weight"]
    masks, said = pruned(model, exclude=["1"])
    assert masks.sparsity == 0.5
    assert not said
    if kind != "lazy":
        assert prunery.cost(model, X, masks).params.kept == 18


def test_a_parametrized_bias_hides_no_weight():
    layer = nn.Linear(6, 6)
    nn.utils.parametrize.register_parametrization(layer, "bias", nn.Softplus())
    assert names(nn.Sequential(layer)) == ["0.weight"]


def test_a_hidden_weight_of_a_recurrent_layer_is_named():
    model = Model(r=weight_norm(nn.GRU(4, 5), "weight_hh_l0"), head=nn.Linear(5, 2))
    with pytest.raises(ModelError, match=r"r\.weight_hh_l0"):
        prunery.prune(model, 0.5)
    assert names(model, exclude=["r.weight_hh_l0"]) == ["r.weight_ih_l0", "head.weight"]


# 4. two parameters in one memory


def transposed():
    model = Model(encoder=nn.Linear(6, 4, bias=False), decoder=nn.Linear(4, 6, bias=False))
    model.decoder.weight = nn.Parameter(model.encoder.weight.t())
    return model


def shared_data():
    model = Model(a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    model.b.weight.data = model.a.weight.data
    return model


def embedding_data():
    model = Model(embedding=nn.Embedding(5, 6), head=nn.Linear(6, 5))
    model.head.weight.data = model.embedding.weight.data
    return model


def overlapping():
    memory = torch.randn(40)
    model = Model(a=nn.Linear(6, 4, bias=False), b=nn.Linear(6, 4, bias=False))
    model.a.weight = nn.Parameter(memory[:24].view(4, 6))
    model.b.weight = nn.Parameter(memory[16:].view(4, 6))
    return model


@pytest.mark.parametrize("make", [transposed, shared_data, embedding_data, overlapping])
def test_two_parameters_in_one_memory_are_refused(make):
    model = make()
    first, second = (name for name, p in model.named_parameters() if p.ndim == 2)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ModelError, match="in one memory") as refused:
        prunery.prune(model, 0.5)
    assert repr(first) in str(refused.value)
    assert repr(second) in str(refused.value)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_neighbours_and_interleaved_columns_share_no_element():
    memory = torch.randn(4, 12)
    model = Model(a=nn.Linear(6, 4, bias=False), b=nn.Linear(6, 4, bias=False))
    model.a.weight, model.b.weight = nn.Parameter(memory[:, :6]), nn.Parameter(memory[:, 6:])
    assert prunery.prune(model, 0.5).kept == 24


def test_tied_parameters_are_one_weight():
    model = Model(a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    model.b.weight = model.a.weight
    masks = prunery.prune(model, 0.5)
    assert (list(masks), masks.total) == (["a.weight"], 36)


def test_elements_in_one_place_are_refused():
    model = Model(a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    model.a.weight.data = torch.randn(6, 1).expand(6, 6)
    with pytest.raises(ModelError, match=r"'a\.weight': several of its elements lie in one place"):
        prunery.prune(model, 0.5)
    assert names(model, exclude=["a"]) == ["b.weight"]


@pytest.mark.parametrize("form", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_sparse_tensors_are_refused(form):
    model = Model(a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    model.a.weight = nn.Parameter(form(model.a.weight.detach()))
    with pytest.raises(ModelError, match=r"'a\.weight': it is a sparse tensor"):
        prunery.prune(model, 0.5)
    assert prunery.prune(model, 0.5, exclude=["a"]).kept == 18


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_and_may_be_a_part():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    masks = prunery.prune(model, 0.5)
    scripted = torch.jit.script(model)
    with pytest.raises(ModelError, match="has no prunable weight"):
        prunery.prune(scripted, 0.5)
    assert masks.holds(scripted)
    model = Model(a=torch.jit.trace(nn.Linear(6, 6), X), b=nn.Linear(6, 3))
    masks, said = pruned(model, criterion="snip", batches=[(X, torch.tensor([0, 1]))])
    assert masks.kept == 9
    assert "a.weight" in said[0]


class Wrapping(torch.Tensor):
    """A tensor around another one, as sharded and quantised weights are."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, requires_grad=False)

    def __init__(self, inner):
        self.inner = inner

    def __tensor_flatten__(self):
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner, *_):
        return Wrapping(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return cls(args[0].inner)
        raise RuntimeError("no such operation")


def test_tensors_around_others_are_refused():
    model = Model(a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    masks = prunery.prune(model, 0.5, scope="layer")
    model.a.weight = nn.Parameter(Wrapping(model.a.weight.detach()), requires_grad=False)
    with pytest.raises(ModelError, match=r"'a\.weight': it is a Wrapping, no plain tensor"):
        prunery.prune(model, 0.5)
    assert prunery.prune(model, 0.5, exclude=["a"]).kept == 18
    with pytest.raises(ModelError, match="before the model is sharded"):
        masks.apply_(model)
