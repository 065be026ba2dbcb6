"""Models that once broke pruning: shared modules, tied embeddings, forwards with side effects."""

import copy
import warnings

import pytest
import torch
from nets import ConvNet, batch, mlp
from torch import nn

import prunery
from prunery import Masks
from prunery.core.sparsity import parse
from prunery.errors import ChoiceError, EvidenceError, ModelError, NormWarning, SparsityError

GRADIENT = ["snip", "grasp", "synflow"]


class Shared(nn.Module):
    """One linear layer registered under two names."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(16, 16)
        self.b = self.a
        self.c = nn.Linear(16, 4)

    def forward(self, x):
        return self.c(torch.relu(self.b(self.a(x))))


class Language(nn.Module):
    """An output layer tied to the embedding, which is registered first."""

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(20, 12)
        self.h = nn.Linear(12, 12)
        self.head = nn.Linear(12, 20, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens):
        return self.head(torch.relu(self.h(self.wte(tokens))))[:, 0]


class Counting(ConvNet):
    """A forward that replaces a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls = self.calls + 1
        return super().forward(x)


@pytest.mark.parametrize("criterion", GRADIENT)
def test_shared_modules_are_scored_and_stay_parameters(criterion):
    model = Shared()
    masks = prunery.prune(model, "60%", criterion=criterion, batches=[batch((16,), 4)], rounds=2)
    assert masks.total == 16 * 16 + 16 * 4
    assert masks.total - masks.kept == round(0.6 * masks.total)
    assert isinstance(model.a.weight, nn.Parameter)
    assert model.a is model.b
    assert len(list(model.parameters())) == 4


@pytest.mark.parametrize("criterion", GRADIENT)
def test_embeddings_tied_to_the_output_layer(criterion):
    model = Language()
    g = torch.Generator().manual_seed(0)
    tokens, y = torch.randint(0, 20, (8, 5), generator=g), torch.randint(0, 20, (8,), generator=g)
    masks = prunery.prune(model, 0.5, criterion=criterion, batches=[(tokens, y)], rounds=2)
    assert list(masks) == ["h.weight", "head.weight"]
    assert model.wte.weight is model.head.weight
    assert int((model.wte.weight == 0).sum()) == int((~masks["head.weight"]).sum())


def test_excluding_one_name_of_a_tied_weight_excludes_it():
    assert list(prunery.prune(Language(), 0.5, exclude=["wte"])) == ["h.weight"]


@pytest.mark.parametrize(
    "arguments", [{"criterion": "snip"}, {"criterion": "synflow"}, {"granularity": "filter"}]
)
def test_forwards_that_replace_buffers_leave_them_as_they_were(arguments):
    model = Counting()
    calls = model.calls
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", prunery.EmptyLayerWarning)
        prunery.prune(model, 0.3, batches=[batch((3, 8, 8), 5)], rounds=2, **arguments)
    assert model.calls is calls
    assert model.calls == 0


def test_a_forward_that_raises_leaves_the_model_whole():
    class Failing(Counting):
        def forward(self, x):
            self.bn1.running_mean.add_(1)
            super().forward(x)
            raise RuntimeError("the user's own")

    model = Failing()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(prunery.PruneryError, match="the user's own"):
        prunery.prune(model, 0.5, criterion="snip", batches=[batch((3, 8, 8), 5)])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(isinstance(p, nn.Parameter) for p in model._modules["conv1"]._parameters.values())


def test_norms_shared_by_two_layers_are_left_alone():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.bn = nn.BatchNorm2d(8)

        def forward(self, x):
            return self.bn(self.b(torch.relu(self.bn(self.a(x)))))

    x = torch.randn(1, 3, 8, 8)
    with pytest.warns(NormWarning) as caught:
        masks = prunery.prune(Twice(), 0.5, granularity="filter", exclude=(), example=x)
    assert [str(w.message).split("'")[1] for w in caught] == ["a.weight", "b.weight"]
    assert set(masks) == {"a.weight", "a.bias", "b.weight", "b.bias"}


def test_filters_leave_excluded_biases_and_norms_alone():
    x, _ = batch((3, 8, 8), 5)
    masks = prunery.prune(
        ConvNet(), 0.5, granularity="filter", scope="layer", example=x, exclude=["head", "bn1", "conv1.bias"]
    )
    assert set(masks) == {"conv1.weight", "conv2.weight", "bn2.weight", "bn2.bias"}


def test_removed_weights_say_nothing_of_their_filter():
    model = nn.Sequential(nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4))
        model[0].weight[0] = torch.tensor([0.1, 100.0, torch.nan, 100.0])
    before = Masks({"0.weight": torch.eye(4).bool()})
    masks = prunery.prune(model, 0.75, masks=before, granularity="filter", exclude=())
    assert not masks["0.weight"][0].any()
    assert masks.kept == 1


def test_layers_that_a_mapping_does_not_match_stay_as_they_are():
    model = mlp(10, 10, 10, 10)
    first = prunery.prune(model, 0.5)
    second = prunery.prune(model, {"2": 0.9}, masks=first)
    assert int(second["2.weight"].sum()) == 10
    assert all(torch.equal(first[n], second[n]) for n in ("0.weight", "4.weight"))


def test_sparse_gradients_are_let_through():
    model = Language()
    model.wte.sparse = True
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    masks = Masks({"wte.weight": torch.rand(20, 12, generator=torch.Generator().manual_seed(0)) > 0.5})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with masks.enforce(optimizer, model):
        model(torch.arange(10).view(5, 2)).sum().backward()
        optimizer.step()
        assert (model.wte.weight[~masks["wte.weight"]] == 0).all()


def test_inference_mode_around_the_call_is_no_obstacle():
    model = mlp(20, 10, 5)
    batches = [batch((20,), 5)]
    with torch.inference_mode():
        masks = prunery.prune(model, 0.5, criterion="snip", batches=batches)
    assert masks.kept == masks.total - round(0.5 * masks.total)


@pytest.mark.parametrize("batches", [[], iter([batch((20,), 5)])])
def test_synflow_refuses_batches_it_cannot_read_again(batches):
    with pytest.raises(EvidenceError, match=r"batch"):
        prunery.prune(mlp(20, 10, 5), 0.5, criterion="synflow", batches=batches)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "x", True])
def test_grasp_refuses_a_temperature_it_cannot_divide_by(temperature):
    with pytest.raises(ChoiceError, match="finite number above 0"):
        prunery.prune(mlp(4, 4), 0.5, criterion="grasp", options={"temperature": temperature}, batches=[])


@pytest.mark.parametrize("text", ["1e400%", "density=1e400", "1e99999999%", "0." + "9" * 500])
def test_absurd_numbers_are_refused_at_once(text):
    with pytest.raises(SparsityError, match="accepted forms"):
        parse(text)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (None, "it is of type NoneType"),
        (5, "it is of type int"),
        (nn.Sequential(nn.ReLU()), "no prunable weight"),
    ],
)
def test_what_cannot_be_pruned_is_refused(model, said):
    with pytest.raises(ModelError, match=said):
        prunery.prune(model, 0.5)


def test_old_style_weight_norm_is_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 3)))
    with pytest.raises(ModelError, match="weight_norm"):
        prunery.prune(model, 0.5)


class Recurrent(nn.Module):
    """Packed sequences in, as `nn.utils.rnn` makes them."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, sequences):
        return self.head(self.lstm(sequences)[1][0][-1])


@pytest.mark.parametrize("criterion", GRADIENT)
def test_packed_sequences_are_one_argument(criterion):
    torch.manual_seed(0)
    model = Recurrent()
    packed = nn.utils.rnn.pack_sequence([torch.randn(4, 5), torch.randn(2, 5)])
    target = torch.tensor([0, 2])
    masks = prunery.prune(model, 0.5, criterion=criterion, example=packed, batches=[(packed, target)])
    assert (masks.kept, masks.total) == (220, 440)
