"""Accuracy: whole numbers, ties, NaN, ragged batches, collapse, and no trace."""

import math

import pytest
import torch
from torch import nn

from prunery.data.batches import Batches
from prunery.data.splits import Split, split
from prunery.errors import DataError, ModelError
from prunery.measure.accuracy import Counts, collapse, evaluate


class Fixed(nn.Module):
    """Gives row i of a table for an image whose only pixel says i."""

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows, dtype=torch.float32))

    def forward(self, x):
        return self.rows[x.view(-1).round().long()]


def pixels(labels, classes):
    """A split whose image i is the one pixel i, not normalised."""
    x = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return Split("test", x, torch.tensor(labels), mean=(0.0,), std=(1 / 255,), classes=classes)


def test_counts_by_hand():
    # classes 6; the rank of the right class is 0, 1, 4, 5
    rows = [[9, 1, 2, 3, 4, 5], [9, 8, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [5, 4, 3, 2, 1, 0]]
    counts = evaluate(Fixed(rows), pixels([0, 1, 4, 5], 6))
    losses = [
        -math.log(math.exp(rows[i][y]) / sum(map(math.exp, rows[i]))) for i, y in enumerate([0, 1, 4, 5])
    ]
    assert (counts.total, counts.correct1, counts.correct5) == (4, 1, 3)
    assert counts.predicted == (4, 0, 0, 0, 0, 0)
    assert counts.loss == pytest.approx(sum(losses) / 4, rel=1e-6)
    assert (counts.top1, counts.top5, counts.nan, counts.classes) == (25.0, 75.0, 0, 6)


@pytest.mark.parametrize(("classes", "five"), [(2, None), (5, None), (6, 1)])
def test_top5_only_above_five_classes(classes, five):
    counts = evaluate(Fixed([list(range(classes))]), pixels([classes - 1], classes))
    assert counts.correct5 == five
    assert counts.top5 == (None if five is None else 100.0)


def test_ties_go_to_the_lower_class_for_top1_and_top5():
    counts = evaluate(Fixed([[0.0] * 7] * 7), pixels(list(range(7)), 7))
    assert (counts.correct1, counts.correct5) == (1, 5)
    assert counts.predicted == (7, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("batch", [1, 3, 7, 10, 1000])
def test_a_ragged_last_batch_counts_each_example_once(batch):
    rows = torch.randn(10, 8, generator=torch.Generator().manual_seed(0)).tolist()
    rows[9][3] = 50.0  # the one of a last batch: averaging batch means would weigh it more
    counts = evaluate(Fixed(rows), pixels([i % 8 for i in range(9)] + [0], 8), batch=batch)
    table = torch.tensor(rows)
    y = torch.tensor([i % 8 for i in range(9)] + [0])
    assert counts.total == 10
    assert counts.correct1 == sum(int(max(range(8), key=rows[i].__getitem__) == y[i]) for i in range(10))
    assert counts.loss == pytest.approx(float(nn.functional.cross_entropy(table, y)), rel=1e-6)
    assert sum(counts.predicted) == 10


def test_a_perfect_classifier_is_100_percent_at_a_batch_that_does_not_divide():
    rows = torch.eye(10).repeat(25, 1).tolist()
    counts = evaluate(Fixed(rows), pixels([i % 10 for i in range(250)], 10), batch=128)
    assert (counts.correct1, counts.top1) == (250, 100.0)
    assert counts.predicted == (25,) * 10


def test_nan_outputs_are_wrong_even_where_argmax_would_be_right():
    nan = math.nan
    rows = [[nan, 0, 0, 0, 0, 0], [5, nan, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0]]
    counts = evaluate(Fixed(rows), pixels([0, 0, 0], 6))
    assert (counts.correct1, counts.correct5, counts.nan) == (1, 1, 2)
    assert counts.predicted == (1, 0, 0, 0, 0, 0)
    assert math.isnan(counts.loss)
    assert collapse(counts) == "outputs NaN for 2 of 3"


def test_infinite_outputs_give_an_infinite_loss_and_no_nan_count():
    counts = evaluate(Fixed([[0, -math.inf], [1, 0]]), pixels([1, 0], 2))
    assert (counts.correct1, counts.nan, counts.loss) == (1, 0, math.inf)
    assert collapse(counts) == "loss is inf"


def test_outputs_of_another_width_are_an_error():
    with pytest.raises(ModelError, match=r"3 classes: it gave \(1, 4\) for 1 examples.*3 outputs"):
        evaluate(Fixed([[0.0] * 4]), pixels([0], 3))


def test_an_empty_split_is_an_error():
    with pytest.raises(DataError, match="it is empty"):
        evaluate(Fixed([[0.0, 1.0]]), pixels([], 2))


class WithLogits(Fixed):
    def forward(self, x):
        return type("Output", (), {"logits": super().forward(x)})


def test_an_output_with_logits_is_read():
    assert evaluate(WithLogits([[0.0, 1.0]]), pixels([1], 2)).correct1 == 1


# Against a plain loop, on real images


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4 * 36, 10)

    def forward(self, x):
        return self.fc(self.drop(self.norm(self.conv(x)).relu()).flatten(1))


def test_equals_a_plain_loop_on_digits_and_leaves_no_trace(digits):
    test = split(digits, seed=0).test
    torch.manual_seed(0)
    model = Net()
    model(torch.randn(8, 1, 8, 8)).sum().backward()
    model.norm.eval()  # frozen by its owner
    before = {name: t.clone() for name, t in model.state_dict().items()}
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    state = torch.get_rng_state()

    counts = evaluate(model, test, batch=77)

    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(torch.equal(p.grad, grads[name]) for name, p in model.named_parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())

    model.eval()
    with torch.no_grad():
        (x, y), *rest = Batches(test, batch=len(test), seed=0)
        logits = model(x)
    order = logits.argsort(dim=1, descending=True, stable=True)
    assert not rest
    assert counts.total == len(test) == len(y)
    assert counts.correct1 == int((order[:, 0] == y).sum())
    assert counts.correct5 == int((order[:, :5] == y[:, None]).sum())
    assert counts.predicted == tuple(int((order[:, 0] == c).sum()) for c in range(10))
    assert counts.loss == pytest.approx(float(nn.functional.cross_entropy(logits, y)), rel=1e-5)


class Counting(nn.Module):
    """Changes a buffer in place, replaces another and draws random numbers, even in eval mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))
        self.fail = False

    def forward(self, x):
        self.calls += 1
        self.last = torch.rand(2)
        if self.fail:
            raise RuntimeError("no")
        return x.new_zeros(len(x), 2)


@pytest.mark.parametrize("fail", [False, True])
def test_buffers_and_random_state_are_put_back_even_after_an_error(fail):
    model = Counting()
    model.fail = fail
    calls, last, state = model.calls, model.last, torch.get_rng_state()
    if fail:
        with pytest.raises(RuntimeError, match="no"):
            evaluate(model, pixels([0, 1], 2), batch=1)
    else:
        evaluate(model, pixels([0, 1], 2), batch=1)
    assert model.calls is calls
    assert model.last is last
    assert (float(calls), last.tolist()) == (0.0, [0.0, 0.0])
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.calls.is_inference()


def test_a_backward_pass_that_is_still_to_come_is_not_spoilt(digits):
    model = Net()
    model.norm.eval()
    loss = model(torch.randn(8, 1, 8, 8)).sum()
    evaluate(model, split(digits, seed=0).test)
    loss.backward()
    assert model.conv.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_batches_come_in_the_precision_of_the_model(dtype):
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).to(dtype)
    nn.init.constant_(model[1].weight, 1.0)
    with torch.no_grad():
        model[1].weight[1] = 2.0
    assert evaluate(model, pixels([0, 1, 1], 2)).predicted == (1, 2)  # pixel 0 ties, 1 and 2 do not


# Collapse


def counts(correct, loss, predicted, nan=0):
    return Counts(sum(predicted) + nan, correct, None, loss, tuple(predicted), nan)


LN10 = math.log(10)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (counts(9000, 0.3, [1000] * 10), None),
        (counts(1135, 2.3011, [0, 10000] + [0] * 8), "predicts class 1 for all 10000"),
        (counts(0, math.nan, [0] * 10, nan=10000), "outputs NaN for all 10000"),
        (counts(980, math.nan, [1000] * 10), "loss is nan"),
        (counts(9000, math.inf, [1000] * 10), "loss is inf"),
        (counts(1010, LN10, [9999, 1] + [0] * 8), "loss 2.303 is about ln 10, top-1 10.10 % is chance"),
        (
            counts(1090, LN10 * 1.0049, [5000, 5000] + [0] * 8),
            "loss 2.314 is about ln 10, top-1 10.90 % is chance",
        ),
        (counts(1010, LN10 * 1.0051, [5000, 5000] + [0] * 8), None),
        (counts(1010, LN10 * 0.9949, [5000, 5000] + [0] * 8), None),
        (counts(1091, LN10, [5000, 5000] + [0] * 8), None),  # 1000 + 3 * sqrt(900) = 1090
        (counts(1, 0.7, [1, 0]), None),  # one example says nothing
        (counts(5, 0.0, [5]), None),  # neither does one class
    ],
)
def test_collapse_is_named(case, text):
    assert collapse(case) == text


def test_a_network_without_a_path_collapses(digits):
    test = split(digits, seed=0).test
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(model[1].weight)
    found = evaluate(model, test)
    assert found.predicted.count(0) == 9
    label = int(model[1].bias.argmax())
    assert found.correct1 == int((test.y == label).sum())
    assert collapse(found) == f"predicts class {label} for all {len(test)}"


def test_groups_of_classes_by_hand():
    rows = [[0, 9, 0, 0], [0, 9, 0, 0], [0, 0, 0, 9], [9, 0, 0, 0]]  # answers 1, 1, 3, 0
    split = pixels([0, 1, 2, 3], 4)
    found = evaluate(Fixed(rows), split, groups=(0, 0, 0, 1))  # 0, 1 and 2 together, 3 alone
    assert (found.correct1, found.correct_group) == (1, 2)
    assert found.group_chance == (9 + 1) / 16
    assert evaluate(Fixed(rows), split).correct_group is None
