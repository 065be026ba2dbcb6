"""The loss that gradient criteria follow: guessed where labels leave no doubt, asked for otherwise."""

import pytest
import torch
from nets import mlp
from torch import nn
from torch.nn import functional

import prunery
from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.core.layers import prunable
from prunery.core.loss import loss_of
from prunery.errors import EvidenceError

LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
SOFT = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.25, 0.5, 0.25], [1 / 3, 1 / 3, 1 / 3]])
INDICES = torch.tensor([2, 0, 1, 1])


def guessed(output, target, **given):
    return loss_of(ScoringContext(nn.Linear(2, 2), [], **given), output, target)


@pytest.mark.parametrize(
    "target", [INDICES, INDICES.int(), INDICES.to(torch.uint8), torch.tensor([2, 0, -100, 1])]
)
def test_class_indices_mean_cross_entropy(target):
    assert guessed(LOGITS, target) == functional.cross_entropy(LOGITS, target.long())


@pytest.mark.parametrize("axes", [(5,), (5, 2)])
def test_class_indices_may_have_places(axes):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 3, *axes, generator=generator)
    target = torch.randint(0, 3, (4, *axes), generator=generator)
    assert guessed(logits, target) == functional.cross_entropy(logits, target)
    soft = torch.softmax(torch.randn(4, 3, *axes, generator=generator), 1)
    assert guessed(logits, soft) == functional.cross_entropy(logits, soft)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_soft_labels_mean_cross_entropy(dtype):
    target = SOFT.to(dtype)
    assert guessed(LOGITS, target) == functional.cross_entropy(LOGITS, target.float())
    assert guessed(LOGITS, functional.one_hot(INDICES, 3).to(dtype)) == functional.cross_entropy(
        LOGITS, INDICES
    )


ASKED = {
    "regression, one value": (torch.randn(4, 1), torch.randn(4, 1)),
    "regression, flat": (torch.randn(4), torch.randn(4)),
    "regression, flat target": (torch.randn(4, 1), torch.randn(4)),
    "regression, several values": (LOGITS, torch.randn(4, 3)),
    "regression, positive values": (LOGITS, SOFT * 2),
    "regression, values that sum to 1": (LOGITS, torch.tensor([[2.0, -1.0, 0.0]] * 4)),
    "several labels": (LOGITS, torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])),
    "several labels, booleans": (LOGITS, torch.ones(4, 3, dtype=torch.bool)),
    "several labels, integers": (LOGITS, torch.ones(4, 3, dtype=torch.int64)),
    "one logit, integers": (torch.randn(4, 1), torch.tensor([0, 1, 1, 0])),
    "one logit, integers like it": (torch.randn(4, 1), torch.tensor([[0], [1], [1], [0]])),
    "one logit, floats": (torch.randn(4, 1), torch.ones(4, 1)),
    "one logit, flat": (torch.randn(4), torch.tensor([0, 1, 1, 0])),
    "two labels, booleans": (torch.randn(4, 2), torch.tensor([True, False, True, True])),
    "indices as floats": (LOGITS, INDICES.float()),
    "indices of another shape": (LOGITS, INDICES[:, None]),
    "indices of fewer": (LOGITS, INDICES[:3]),
    "words": (torch.randn(2, 7, 30), torch.randint(0, 30, (2, 7))),
    "as many words as places": (torch.randn(2, 7, 7), torch.randint(0, 7, (2, 7))),
    "a complex target": (LOGITS, torch.ones(4, dtype=torch.complex64)),
    "no target": (LOGITS, None),
    "several targets": (LOGITS, (INDICES, INDICES)),
    "several outputs": ((LOGITS, LOGITS), INDICES),
}


@pytest.mark.parametrize(("output", "target"), ASKED.values(), ids=ASKED)
def test_any_other_loss_is_asked_for(output, target):
    with pytest.raises(
        EvidenceError, match=r"(?s)needs a loss for .*Pass loss=, a function of \(output, target\)"
    ):
        guessed(output, target)
    assert guessed(output, target, loss=lambda output, target: LOGITS.sum()) == LOGITS.sum()


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_a_network_of_one_output_is_scored_by_the_loss_that_is_given(criterion):
    model, x = mlp(5, 8, 1), torch.randn(6, 5)
    for y in (torch.randn(6, 1), torch.randint(0, 2, (6,)), torch.randint(0, 2, (6, 1)).float()):
        with pytest.raises(EvidenceError, match="loss="):
            prunery.prune(model, 0.5, criterion=criterion, batches=[(x, y)])
    masks = prunery.prune(
        model, 0.5, criterion=criterion, batches=[(x, torch.randn(6, 1))], loss=functional.mse_loss
    )
    assert masks.kept == 24


class WithLoss(nn.Module):
    """Called with a dict, it gives its loss in a mapping or as an attribute."""

    def __init__(self, form):
        super().__init__()
        self.net, self.form = mlp(5, 8, 3), form

    def forward(self, x, labels):
        logits = self.net(x)
        return self.form(functional.cross_entropy(logits, labels), logits)


def test_dict_batches_follow_the_loss_of_the_output():
    x, y = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = mlp(5, 8, 3)
    expected = gather("grad", ScoringContext(plain, prunable(plain), batches=[(x, y)]))

    class Attributes:
        def __init__(self, loss, logits):
            self.loss, self.logits = loss, logits

    for form in (lambda loss, logits: {"loss": loss, "logits": logits}, Attributes):
        model = WithLoss(form)
        batches = [{"labels": y[:2], "x": x[:2]}, {"x": x[2:], "labels": y[2:]}]
        scored = gather("grad", ScoringContext(model, prunable(model), batches=batches))
        assert all(torch.allclose(scored[f"net.{n}"], expected[n], atol=1e-7) for n in expected)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda loss, logits: {"logits": logits}, r"output\.loss"),
        (lambda loss, logits: (loss, logits), r"output\.loss"),
        (lambda loss, logits: {"loss": logits}, r"one number in a tensor \(it got one of shape \(6, 3\)\)"),
        (lambda loss, logits: {"loss": float(loss.detach())}, r"output\.loss"),
    ],
)
def test_dict_batches_without_a_loss_are_refused(form, message):
    model = WithLoss(form)
    batches = [{"x": torch.randn(6, 5), "labels": torch.tensor([0, 1, 2, 0, 1, 2])}]
    with pytest.raises(EvidenceError, match=message):
        gather("grad", ScoringContext(model, prunable(model), batches=batches))


@pytest.mark.parametrize("value", [torch.ones(2), 1.0, None])
def test_a_loss_is_one_number(value):
    with pytest.raises(EvidenceError, match="one number"):
        guessed(LOGITS, INDICES, loss=lambda output, target: value)


def test_a_temperature_divides_logits_only():
    options = {"temperature": 4.0}
    assert guessed(LOGITS, INDICES, options=options) == functional.cross_entropy(LOGITS / 4, INDICES)
    with pytest.raises(EvidenceError, match=r"divide by the temperature 4.*'temperature': 1"):
        guessed({"loss": LOGITS.sum()}, {}, options=options)


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_a_model_that_ends_in_a_softmax_is_refused(criterion):
    model, batches = nn.Sequential(mlp(5, 8, 3), nn.Softmax(1)), [(torch.randn(4, 5), INDICES)]
    with pytest.raises(EvidenceError, match=r"probabilities already.*end before its softmax"):
        prunery.prune(model, 0.5, criterion=criterion, batches=batches)
    model[1] = nn.LogSoftmax(1)  # cross entropy of these is that of the logits
    assert prunery.prune(model, 0.5, criterion=criterion, batches=batches).kept == 32


def test_single_examples_are_no_batches():
    examples = torch.utils.data.TensorDataset(torch.randn(4, 5), INDICES)
    with pytest.raises(EvidenceError, match=r"single examples.*DataLoader"):
        prunery.prune(mlp(5, 8, 3), 0.5, criterion="snip", batches=examples)
