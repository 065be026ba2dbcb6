"""Settings, the learning rate as a function of the step, and recovery: all without torch."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from prunery.errors import ChoiceError, SpecError
from prunery.lab import actions
from prunery.train.lr_schedule import learning_rate
from prunery.train.recovery import recovery
from prunery.train.settings import Training, merged

PLAIN = {"epochs": 10, "optimizer": "sgd", "learning_rate": 0.4}


def test_every_setting_is_described():
    for name, field in Training.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_defaults_and_lists_from_yaml():
    t = Training(**PLAIN, lr_schedule="step", milestones=[3, 7])
    assert t.milestones == (3, 7)
    assert (t.momentum, t.weight_decay, t.batch, t.select, t.clip_norm) == (0.9, 0.0, 128, "last", None)
    assert Training(**t.model_dump()) == t
    assert hash(Training(**t.model_dump())) == hash(t)
    with pytest.raises(ValidationError):
        t.epochs = 3


def test_zero_epochs_are_allowed():
    assert Training(epochs=0, optimizer="sgd", learning_rate=0.1, warmup=2).epochs == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": -1}, "greater than or equal to 0"),
        ({"epochs": True}, "valid integer"),
        ({"epochs": "3"}, "valid integer"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"optimizer": "adma"}, "'sgd', 'adam' or 'adamw'"),
        (
            {"optimizer": "adam", "momentum": 0.8},
            "momentum is a setting of optimizer 'sgd', and optimizer is 'adam'",
        ),
        ({"optimizer": "adamw", "nesterov": True}, "nesterov is a setting of optimizer 'sgd'"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs a momentum above 0"),
        ({"milestones": [3]}, "milestones is a setting of lr_schedule 'step', and lr_schedule is 'constant'"),
        ({"lr_schedule": "cosine", "gamma": 0.5}, "gamma is a setting of lr_schedule 'step'"),
        ({"lr_schedule": "step"}, "needs milestones"),
        ({"lr_schedule": "step", "milestones": [7, 3]}, "[7, 3] are not in rising order"),
        ({"lr_schedule": "step", "milestones": [3, 3]}, "[3, 3] are not in rising order"),
        ({"lr_schedule": "step", "milestones": [3, 10]}, "do not all lie inside the 10 epochs"),
        ({"lr_schedule": "step", "milestones": [0, 3]}, "do not all lie inside the 10 epochs"),
        ({"lr_schedule": "step", "milestones": [2.5]}, "valid integer"),
        ({"warmup": 10}, "leaves nothing of 10 epochs"),
        ({"label_smoothing": 1.0}, "less than 1"),
        ({"clip_norm": 0.0}, "greater than 0"),
        ({"select": "test"}, "'last' or 'validation'"),
    ],
)
def test_wrong_settings_say_what_is_wrong(change, says):
    with pytest.raises(ValidationError) as direct:
        Training(**PLAIN | change)
    assert says in str(direct.value)
    with pytest.raises(SpecError) as overridden:
        merged(Training(**PLAIN), change)
    assert says in overridden.value.found
    assert next(iter(change)) in overridden.value.asked
    assert "Value error" not in str(overridden.value)


def test_merged_replaces_and_keeps():
    base = Training(**PLAIN, weight_decay=0.01, momentum=0.5)
    assert merged(base, {}) == base
    assert merged(base, {"epochs": 3, "batch": 7}) == Training(
        **PLAIN | {"epochs": 3, "batch": 7}, weight_decay=0.01, momentum=0.5
    )
    assert base.epochs == 10


def test_merged_drops_what_belongs_to_the_old_choice():
    base = Training(**PLAIN, momentum=0.5, lr_schedule="step", milestones=(3,), gamma=0.2)
    new = merged(base, {"optimizer": "adam", "lr_schedule": "cosine"})
    assert (new.momentum, new.milestones, new.gamma) == (0.9, (), 0.1)
    assert merged(base, {"lr_schedule": "step"}).milestones == (3,)


def test_merged_names_the_nearest_setting():
    with pytest.raises(SpecError) as caught:
        merged(Training(**PLAIN), {"learning_rat": 0.1})
    assert "learning_rat" in caught.value.asked
    assert "did you mean 'learning_rate'?" in caught.value.found
    assert "epochs" in caught.value.do


@pytest.mark.parametrize(
    ("change", "rates"),
    [
        ({}, {0: 0.4, 50: 0.4, 99: 0.4}),
        ({"warmup": 1.0}, {0: 0.04, 4: 0.2, 9: 0.4, 10: 0.4, 99: 0.4}),
        ({"warmup": 0.25}, {0: 0.2, 1: 0.4, 2: 0.4}),  # 2.5 steps, to the even one
        ({"lr_schedule": "linear"}, {0: 0.4, 25: 0.3, 50: 0.2, 99: 0.004}),
        ({"lr_schedule": "linear", "warmup": 2.0}, {0: 0.02, 19: 0.4, 20: 0.4, 60: 0.2, 99: 0.005}),
        ({"lr_schedule": "cosine"}, {0: 0.4, 25: 0.2 * (1 + 0.5**0.5), 50: 0.2, 75: 0.2 * (1 - 0.5**0.5)}),
        ({"lr_schedule": "cosine", "warmup": 1.0}, {0: 0.04, 10: 0.4, 40: 0.3, 55: 0.2, 70: 0.1}),
        (
            {"lr_schedule": "step", "milestones": [3, 7]},
            {0: 0.4, 29: 0.4, 30: 0.04, 69: 0.04, 70: 0.004, 99: 0.004},
        ),
        (
            {"lr_schedule": "step", "milestones": [3], "gamma": 0.5, "warmup": 4.0},
            {0: 0.01, 39: 0.4, 40: 0.2},
        ),
    ],
)
def test_learning_rate_by_hand(change, rates):
    training = Training(**PLAIN | change)
    for step, rate in rates.items():
        assert learning_rate(step, total=100, training=training) == pytest.approx(rate, rel=1e-12), step


OLDER = ["none", "finetune", "rewind", "reinit", "scratch", "bn", "bias", "reconstruct"]
MATCHING = ["repair", "align", "align_labelled", "distill_blocks"]


def test_recovery_rows():
    assert list(recovery) == [*OLDER, *MATCHING]
    facts = {name: dict(recovery[name].facts) for name in recovery}
    assert {n: (f["trains"], f["needs"], f.get("resets")) for n, f in facts.items()} == {
        "none": (False, "", None),
        "finetune": (True, "labels", None),
        "rewind": (True, "labels init", "init"),
        "reinit": (True, "labels", "reinit"),
        "scratch": (True, "labels", "reinit"),
        "bn": (False, "", None),
        "bias": (False, "dense inputs", None),
        "reconstruct": (False, "dense inputs", None),
        "repair": (False, "dense inputs", None),
        "align": (False, "dense", None),
        "align_labelled": (False, "dense labels", None),
        "distill_blocks": (False, "dense inputs", None),
    }
    short = recovery.bind({"name": "finetune", "training": {"epochs": 3}})
    assert short.options["training"] == {"epochs": 3}
    for name in recovery:
        assert recovery[name].facts["source"], name
        assert recovery[name].function.__doc__, name


def test_recovery_refuses_what_it_cannot_do():
    with pytest.raises(ChoiceError, match="only initialisation"):
        actions.checked("rewind(to=500)")
    with pytest.raises(ChoiceError, match="no such option"):
        recovery.bind("none(training=3)")
    with pytest.raises(ChoiceError, match="did you mean 'finetune'"):
        recovery.bind("finetun")


def test_no_torch_for_the_settings():
    code = "import sys; from prunery.train import history, lr_schedule, recovery\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
