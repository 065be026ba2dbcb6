"""What a weight is: what is pruned, what is left alone, what is out of reach, and what is refused."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import prunery
from prunery.errors import CoverageWarning, ModelError, PatternError

X = torch.randn(2, 6)


class Conv1D(nn.Module):
    """A linear layer with weight (in, out), as GPT-2 has it."""

    def __init__(self, out, features):
        super().__init__()
        self.nf = out
        self.weight = nn.Parameter(torch.randn(features, out))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


class Experts(nn.Module):
    """Experts stacked in one parameter each for the way in and the way out."""

    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.randn(3, 6, 8))
        self.down = nn.Parameter(torch.randn(3, 8, 6))
        self.up_bias = nn.Parameter(torch.zeros(3, 8))

    def forward(self, x):
        return torch.einsum("bi,eih,eho->bo", x, self.up, self.down)


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


# 1. coverage


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (Conv1D(4, 6), "part.weight"),
        (nn.Bilinear(6, 6, 4), "part.weight"),
        (type("GPT2Conv1D", (Conv1D,), {})(4, 6), "part.weight"),
    ],
    ids=["Conv1D", "Bilinear", "a subclass of Conv1D"],
)
def test_matrices_of_known_kinds_are_pruned(part, name):
    model = Model(part=part)
    masks, said = pruned(model)
    assert list(masks) == [name]
    assert masks.sparsity == 0.5
    assert int((part.weight == 0).sum()) == masks.total // 2
    assert not said


def test_stacked_experts_are_named_and_pruned_when_included():
    masks, said = pruned(Model(experts=Experts(), head=nn.Linear(6, 3)))
    assert list(masks) == ["head.weight"]
    assert len(said) == 1
    assert "94.1 %" in said[0], said
    assert "experts.up, experts.down" in said[0], "and not the bias"
    assert [p.name for p in masks.coverage.out_of_reach] == ["experts.up", "experts.down"]
    assert masks.coverage.share == pytest.approx(288 / (288 + 18))
    masks, said = pruned(Model(experts=Experts(), head=nn.Linear(6, 3)), include=["experts.*"])
    assert list(masks) == ["experts.up", "experts.down", "head.weight"]
    assert masks.kept == masks.total - round(0.5 * masks.total)
    assert not said


class Functional(nn.Module):
    """A raw matrix used through functions."""

    def __init__(self, **parameters):
        super().__init__()
        for name, parameter in parameters.items():
            setattr(self, name, nn.Parameter(parameter))

    def forward(self, x):
        return functional.linear(x, self.w)


def test_raw_matrices_and_complex_weights_are_named():
    complex_layer = nn.Linear(6, 6, dtype=torch.complex64)
    _, said = pruned(Model(raw=Functional(w=torch.randn(6, 6)), head=nn.Linear(6, 3)))
    assert "raw.w" in said[0]
    _, said = pruned(Model(complex_one=complex_layer, head=nn.Linear(6, 3)))
    assert "complex_one.weight" in said[0]
    _, said = pruned(Model(raw=Functional(w=torch.randn(6, 6)), head=nn.Linear(6, 3)), exclude=["raw.*"])
    assert not said, "who excludes a matrix knows of it"


def test_embeddings_positions_norms_and_vectors_stand_aside():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 6)
            self.pos_embed = nn.Parameter(torch.randn(1, 5, 6))
            self.relative_position_bias_table = nn.Parameter(torch.randn(9, 2))
            self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
            self.gain = nn.Parameter(torch.randn(6, 1, 1))
            self.norm = nn.LayerNorm((5, 6))
            self.head = nn.Linear(6, 3)

    masks, said = pruned(Aside())
    assert list(masks) == ["head.weight"]
    assert not said
    assert str(masks.coverage) == "every parameter with two or more axes can be pruned"


def test_include_that_matches_nothing_is_refused():
    with pytest.raises(PatternError, match="it matches no parameter"):
        prunery.prune(Model(head=nn.Linear(6, 3)), 0.5, include=["experts.*"])
    with pytest.raises(PatternError, match="two or more axes"):
        prunery.prune(Model(norm=nn.BatchNorm1d(6), head=nn.Linear(6, 3)), 0.5, include=["norm.weight"])


def test_filters_of_included_parameters_are_refused():
    with pytest.raises(ModelError, match="which axis"):
        prunery.prune(
            Model(experts=Experts(), mid=nn.Linear(6, 6), head=nn.Linear(6, 3)),
            0.5,
            granularity="filter",
            include=["experts.*"],
            example=X,
        )


# 2. what a subclass or an adapter adds is no weight


class Scaled(nn.Conv2d):
    """Scaled weight standardisation: a gain for each filter."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))


class LowRank(nn.Linear):
    """An adapter in the layer's own class (loralib)."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.lora_A = nn.Parameter(torch.randn(2, self.in_features))
        self.lora_B = nn.Parameter(torch.randn(self.out_features, 2))


class Adapted(nn.Module):
    """An adapter beside the layer (peft)."""

    def __init__(self):
        super().__init__()
        self.base_layer = nn.Linear(6, 6)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(6, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, 6, bias=False)})


def test_what_subclasses_and_adapters_add_is_no_weight():
    assert names(Model(c=Scaled(3, 8, 3))) == ["c.weight"]
    assert names(Model(c=LowRank(6, 4))) == ["c.weight"]
    assert names(Model(c=Adapted(), d=nn.Linear(6, 2))) == ["c.base_layer.weight", "d.weight"]
    attention = nn.MultiheadAttention(6, 2, add_bias_kv=True)
    assert names(Model(a=attention)) == ["a.in_proj_weight", "a.out_proj.weight"]
    separate = nn.MultiheadAttention(6, 2, kdim=4, vdim=4)
    parts = ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]
    assert names(Model(a=separate)) == [f"a.{part}" for part in parts]


def test_weights_of_recurrent_layers_are_what_torch_calls_so():
    class Peephole(nn.LSTM):
        def __init__(self, *sizes, **about):
            super().__init__(*sizes, **about)
            self.peephole = nn.Parameter(torch.randn(3, 5))

    found = names(Model(r=Peephole(4, 5, num_layers=2, proj_size=3)))
    assert found == [f"r.weight_{k}_l{i}" for i in (0, 1) for k in ("ih", "hh", "hr")]


# 5. names


@pytest.mark.parametrize("name", ["lightweight_conv", "reweight", "weight", "weights"])
def test_a_bias_goes_with_its_filter_whatever_the_module_is_called(name):
    model = Model(**{name: nn.Conv2d(3, 4, 1), "last": nn.Conv2d(4, 2, 1)})
    masks = prunery.prune(model, 0.5, granularity="filter", example=torch.randn(1, 3, 4, 4))
    assert set(masks) == {f"{name}.weight", f"{name}.bias"}
    gone = ~masks[f"{name}.weight"].flatten(1).any(1)
    assert torch.equal(~masks[f"{name}.bias"], gone)
    assert int(gone.sum()) == 2


def test_weights_packed_as_integers_are_out_of_reach():
    packed = nn.Linear(6, 6)  # as layers in 4 bits have them: two weights a byte, in one column
    packed.weight = nn.Parameter(torch.zeros(18, 1, dtype=torch.uint8), requires_grad=False)
    _, said = pruned(Model(a=packed, head=nn.Linear(6, 3)))
    assert "a.weight" in said[0]
    quantised = nn.Module()
    quantised.register_buffer("qweight", torch.zeros(3, 6, dtype=torch.int32))
    quantised.register_buffer("scales", torch.ones(2, 6))
    _, said = pruned(Model(a=quantised, head=nn.Linear(6, 3)))
    assert "be pruned: a.qweight;" in said[0]
    _, said = pruned(Model(a=quantised, head=nn.Linear(6, 3)), exclude=["a.qweight"])
    assert not said


@pytest.mark.parametrize(
    ("name", "aside"),
    [
        ("post_proj", False), ("rel_weight", False), ("position_embeddings", True), ("rel_pos_h", True),
        ("pos", True), ("abs_pos_embed", True), ("relative_position_bias_table", True), ("lora_A", True),
    ],
)  # fmt: skip
def test_names_of_tables_stand_aside_and_no_others(name, aside):
    _, said = pruned(Model(a=Functional(**{name: torch.randn(6, 6)}), head=nn.Linear(6, 3)))
    assert bool(said) is not aside


def test_adapters_in_a_subclass_are_no_weights():
    class Adapted(nn.Linear):  # as peft had it at first
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.lora_A = nn.ModuleDict({"default": nn.Linear(6, 2, bias=False)})
            self.lora_B = nn.ModuleDict({"default": nn.Linear(2, 6, bias=False)})

    assert names(Model(a=Adapted(6, 6), d=nn.Linear(6, 2))) == ["a.weight", "d.weight"]
    copied = Model(original_module=nn.Linear(6, 2), modules_to_save=Model(default=nn.Linear(6, 2)))
    assert names(Model(head=copied)) == ["head.modules_to_save.default.weight"]


def test_a_name_means_itself_whatever_characters_it_has():
    model = Model(**{"a[0]": nn.Linear(6, 6), "b": nn.Linear(6, 6)})
    assert names(model, exclude=["a[0]"]) == ["b.weight"]
    assert list(prunery.prune(model, {"a[0]": 0.5})) == ["a[0].weight", "b.weight"]


def test_a_text_is_one_pattern():
    model = Model(raw=Functional(w=torch.randn(6, 6)), head=nn.Linear(6, 3))
    assert names(model, include="raw.w", exclude="head") == ["raw.w"]
    assert "raw.w" in prunery.prune(model, 0.5, include="raw.w", floor=0.1)
