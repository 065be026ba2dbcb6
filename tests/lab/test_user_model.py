"""A user's model that steps could not work with is refused before any of them runs."""

import pytest
import torch
from lab_kit import raw

from prunery.errors import ModelError, PruneryError
from prunery.lab.plan import plan
from prunery.lab.spec import from_plain
from prunery.lab.spec_source import overridden
from prunery.lab.store import Store
from prunery.lab.work import preflight
from prunery.lab.work.user_model import tried_out

# factory -> what is said of it
WRONG = {
    "lazy_for_other_images": "running it on zeros raises RuntimeError: mat1",
    "LazyInTraining": "one run in eval mode left extra.weight, extra.bias without a size",
    "a_class": "it returned the class LazyInTraining, not a model",
    "nothing": "it returned NoneType, not a torch.nn.Module",
    "ends": "it raised SystemExit: 3",
    "wants_width": "missing 1 required positional argument: 'width'",
    "on_meta": "a model on the meta device: '1.weight' has no values",
    "part_on_meta": "a model on the meta device: 'scale' has no values",
    "shared": "two calls of it gave models that share '1.weight'",
    "shared_weights": "two calls of it gave models that share '1.weight'",
    "in_double": "calling it raises RuntimeError",
    "TwoArguments": "missing 1 required positional argument: 'y'",
    "Tuple": "two images give a tuple",
    "Dict": "two images give a dict",
    "Exits": "calling it raises SystemExit: no such layer",
    "frozen": "one step raises RuntimeError: element 0 of tensors does not require grad",
    "TupleInTraining": "on images of shape (1, 8, 8): two images give a tuple",
    "WholeNumbers": "one step raises",
    "Forgetful": "one step raises RuntimeError: element 0 of tensors does not require grad",
    "MoreThanTensors": "saving and loading them raises",
    "Renamed": "saving and loading them raises",
    "nowhere": "'odd_nets' has no 'nowhere'",
}


def tried(name, **options):
    return tried_out(f"odd_nets:{name}", (1, 8, 8), 10, **{"seed": 3, "trains": True, **options})


@pytest.mark.parametrize("name", WRONG)
def test_what_steps_cannot_work_with_is_refused(name):
    with pytest.raises(ModelError) as caught:
        tried(name)
    assert f"model 'odd_nets:{name}'" in caught.value.asked
    assert WRONG[name] in str(caught.value)
    assert caught.value.do


def test_what_trains_only_in_a_study_that_trains_is_tried_there_only():
    for name in ("frozen", "TupleInTraining", "Forgetful"):
        assert tried(name, trains=False) is not None


def test_trying_a_model_leaves_no_trace():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    model = tried("Draws")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    tried("lazy")
    assert torch.equal(torch.get_rng_state(), state)


def check(tmp_path, *overrides):
    spec = from_plain(overridden(raw(), overrides))
    preflight.check(spec, plan(spec), Store(tmp_path / "store"))


def test_the_preflight_tries_the_model_out(tmp_path):
    check(tmp_path, "task.model=odd_nets:lazy")
    for name in ("LazyInTraining", "TupleInTraining", "MoreThanTensors"):
        with pytest.raises(ModelError) as caught:
            check(tmp_path, f"task.model=odd_nets:{name}")
        assert WRONG[name] in str(caught.value)


def test_what_a_cut_raises_names_the_method_and_whose_code_it_was(tmp_path):
    with pytest.raises(PruneryError) as caught:
        check(tmp_path, "task.model=odd_nets:OnlyTwo", "methods.0.granularity=filter")
    assert "method 'magnitude'" in caught.value.asked
    assert "RuntimeError: two, please" in caught.value.found
    with pytest.raises(ModelError) as caught:
        check(tmp_path, "methods.0.granularity=odd_nets:breaks", "methods.0.name=mine")
    assert caught.value.asked == "method 'mine': cutting with odd_nets:breaks"
    assert caught.value.found == "it raised KeyError: 'units'"
