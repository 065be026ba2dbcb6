"""`compress`: each rung helps on examples that it did not see, whatever the data; bad input is refused."""

import copy

import pytest
import torch
from recovery_kit import DATA, Digits
from torch import nn

import prunery
from prunery.data.batches import normalised
from prunery.errors import ChoiceError, DataError, ModelError, SparsityError
from prunery.train.calibration import calibration
from prunery.train.loop import fit
from prunery.train.settings import Training

X, Y = normalised(DATA.train, DATA.train.x), DATA.train.y


@pytest.fixture(scope="module")
def trained():
    model = Digits()
    fit(model, DATA, Training(epochs=8, optimizer="adam", learning_rate=0.01, batch=64), seed=0)
    return model.eval()


def top1(model, part=DATA.test):
    with torch.no_grad():
        return 100 * float((model(normalised(part, part.x)).argmax(1) == part.y).float().mean())


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_each_rung_that_is_kept_lowers_the_error_and_the_network_is_the_better_for_it(trained):
    before = state_of(trained)
    small, masks, report = prunery.compress(trained, "80%", data=X, images=512, steps=60)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert masks.holds(small)
    assert masks.kept == masks.total - round(0.8 * masks.total)
    errors = [rung.error for rung in report.rungs if rung.kept]
    assert errors == sorted(errors, reverse=True)
    assert report.error == min(rung.error for rung in report.rungs)
    magnitude = copy.deepcopy(trained)
    prunery.prune(magnitude, "80%")
    assert top1(small) > top1(magnitude) + 10
    assert report.rungs[0].name == "magnitude + bn"
    assert not any(rung.labels for rung in report.rungs)
    lines = str(report).splitlines()
    assert len(lines) == len(report.rungs) + 3
    assert lines[-1] == f"measured on {round(512 / 8)} examples that no rung saw"


def test_labels_add_a_rung_and_accuracy_is_what_is_measured(trained):
    small, _, report = prunery.compress(trained, "90%", data=(X, Y), images=512, steps=60)
    last = report.rungs[-1]
    assert (last.name, last.labels, last.steps) == ("align_labelled", True, 60)
    held = calibration((X, Y), examples=512, held_out=0.125, seed=0).held
    kept = [rung for rung in report.rungs if rung.kept][-1]
    assert kept.agreement == pytest.approx(top1(small, held), abs=1e-3)


def test_without_examples_the_weights_decide_and_the_report_says_so(trained):
    small, masks, report = prunery.compress(trained, "50%")
    alone = prunery.prune(copy.deepcopy(trained), "50%")
    assert masks == alone
    assert masks.holds(small)
    assert "no examples were given" in str(report)
    assert report.error is None


def test_the_same_seed_gives_the_same_bits_and_every_kind_of_data_the_same_examples(trained):
    found = []
    pairs = [(X[i : i + 100], Y[i : i + 100]) for i in range(0, 300, 100)]
    stored = torch.utils.data.TensorDataset(X[:300], Y[:300])
    loader = torch.utils.data.DataLoader(stored, batch_size=100)
    for data in ((X[:300], Y[:300]), pairs, loader, stored):
        small, _, report = prunery.compress(trained, 0.7, data=data, images=300, steps=5, scope="layer")
        found.append((state_of(small), [rung.error for rung in report.rungs]))
    assert all(errors == found[0][1] for _, errors in found)
    assert all(torch.equal(v, state[n]) for state, _ in found for n, v in found[0][0].items())


def test_what_it_is_given_may_be_in_train_mode_half_precision_or_wrapped(trained):
    model = copy.deepcopy(trained).train()
    small, _, _ = prunery.compress(model, 0.5, data=X, images=128, steps=3)
    assert model.training
    assert not small.training
    half = copy.deepcopy(trained).bfloat16()
    small, masks, _ = prunery.compress(half, 0.5, data=X, images=128, steps=3)
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}
    assert masks.holds(small)
    wrapped = nn.DataParallel(copy.deepcopy(trained))
    assert isinstance(prunery.compress(wrapped, 0.5, data=X, images=64, steps=0).model, Digits)


def test_a_rung_that_a_network_rules_out_is_reported_and_the_others_go_on():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.head(torch.relu(self.b(torch.relu(self.a(x.flatten(1))))))

    _, _, report = prunery.compress(Tied(), 0.5, data=X, images=128, steps=20)
    assert [rung.name for rung in report.rungs if rung.error is None]
    assert "not possible" in str(report)
    assert [rung.name for rung in report.rungs if rung.kept][-1] == "align"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[:0], "0 examples"),
        (X[:10], "Give 16 or more"),
        ([], "there are none"),
        (X[:, :, :3, :3].repeat(1, 3, 1, 1), "the model on examples of shape"),
        (X.clone().fill_(torch.nan), "NaN or infinite"),
        ([X[:20], X[:20, :, :4]], "they differ in shape"),
        ((X[:64], Y[:64] + 10), "Give the class of each example"),
        ("images", "it holds no tensors"),
        (7, "it holds no tensors"),
        ({"x": X}, "it holds no tensors"),
        ((X[:64], Y[:32]), "32 labels for 64"),
    ],
)
def test_data_that_do_not_fit_are_refused(trained, data, message):
    with pytest.raises(DataError, match=message):
        prunery.compress(trained, 0.5, data=data, images=64, steps=1)


def test_a_model_that_cannot_be_repaired_and_a_sparsity_that_is_none_are_refused(trained):
    broken = copy.deepcopy(trained)
    next(broken.parameters()).data.fill_(torch.nan)
    with pytest.raises(ModelError, match="NaN or infinite"):
        prunery.compress(broken, 0.5, data=X)
    with pytest.raises(SparsityError):
        prunery.compress(trained, 1.5, data=X)
    for wrong in (
        {"augmentation": "flop"},
        {"steps": -1},
        {"images": 0},
        {"held_out": 1},
        {"learning_rate": 0},
    ):
        with pytest.raises(ChoiceError):
            prunery.compress(trained, 0.5, data=X, **wrong)


def test_progress_names_each_rung_and_ends_with_all_of_it(trained):
    heard = []
    prunery.compress(trained, 0.5, data=X, images=64, steps=4, progress=lambda *told: heard.append(told))
    names = list(dict.fromkeys(name for name, _ in heard))
    assert names == ["magnitude + bn", "obs + reconstruct", "align"]
    assert [part for name, part in heard if name == "align"] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
