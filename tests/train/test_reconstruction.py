"""`bias` and `reconstruct`: least squares by hand, less error on every layer, what cannot be is refused."""

import copy
import threading

import pytest
import torch
from recovery_kit import NETS, Digits, Twice, context, linear, pruned
from torch import nn
from train_kit import norm_network

import prunery
from prunery.core.layers import prunable
from prunery.core.matrices import columns, matrix_of
from prunery.errors import EvidenceError, ModelError
from prunery.train import reconstruction
from prunery.train.beside import input_sizes, modules_of, pairs
from prunery.train.least_squares import Parts, least_squares
from prunery.train.moments import summed
from prunery.train.paused import paused_runs
from prunery.train.recovery import recovery


def layer_errors(model, dense):
    """The relative squared error of each layer's outputs, on images that nothing was solved on."""
    x = next(iter(context(model, None, dense).images(1400)))[:128]
    errors = {}
    for layer in prunable(model):
        ((a, b),) = pairs((dense, model), layer.module_name, [x], calls=1, side="outputs")
        a, b = a.double(), b.double()
        errors[layer.name] = float((a - b).square().sum() / a.square().sum())
    return errors


@pytest.mark.parametrize("build", NETS)
def test_reconstruct_lowers_the_error_of_every_layer(build):
    dense, model, masks = pruned(build)
    before = layer_errors(model, dense)
    work = context(model, masks, dense)
    recovery.bind("reconstruct(images=1024)")(work)
    after = layer_errors(model, dense)
    assert all(after[name] < before[name] for name in before), (before, after)
    assert masks.holds(model)
    assert "images without labels, no gradient step" in work.book.notes[0]
    assert work.book.read > 0


@pytest.mark.parametrize("build", NETS)
def test_bias_gives_channels_the_mean_of_the_dense_network(build):
    dense, model, masks = pruned(build)
    work = context(model, masks, dense)
    recovery.bind("bias(images=256)")(work)
    for name, module in modules_of(model).items():
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            one, other = summed(work, name, 256, 1)
            assert torch.allclose(one.mean(), other.mean(), atol=1e-4), name
    same = {
        n: torch.equal(p, q) for (n, p), q in zip(model.named_parameters(), dense.parameters(), strict=True)
    }
    assert not any(same[name] for name in same if name.endswith("bias") and name != "norm.bias")
    assert masks.holds(model)


def test_least_squares_by_hand():
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 6, 80, generator=g).double(), torch.randn(2, 3, 6, generator=g).double()
    kept = torch.rand(2, 3, 6, generator=g) < 0.6
    gram = x @ x.mT / 80
    found, singular = least_squares(w @ gram, gram, kept, w, 1e-12)
    assert not singular
    for group in range(2):
        for row in range(3):
            at = kept[group, row]
            best = torch.linalg.lstsq(x[group, at].T, w[group, row] @ x[group]).solution
            assert torch.allclose(found[group, row, at], best)
            assert (found[group, row, ~at] == 0).all()


def test_a_network_without_masks_is_its_own_solution():
    dense = Digits().eval()
    model = copy.deepcopy(dense)
    recovery.bind("reconstruct(images=200)")(context(model, None, dense))
    for p, q in zip(model.parameters(), dense.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-3)


def test_dead_inputs_are_said_and_keep_the_dense_weights():
    dense, model, masks = pruned(linear)  # the digits' corners are always black
    work = context(model, masks, dense)
    recovery.bind("reconstruct(images=1000)")(work)
    assert "1.weight" in work.book.notes[1]
    x = torch.cat(list(context(model, None, dense).images(1000)))
    (layer, *_) = prunable(model)
    dead = torch.cat(list(columns(layer, x.flatten(1))), -1)[0].std(1) == 0
    assert dead.any()
    at = masks["1.weight"] & dead
    assert torch.allclose(model[1].weight[at], dense[1].weight[at], atol=3e-3)
    assert matrix_of(layer).inputs == 64


def test_what_cannot_be_solved_for_is_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 10)

        def forward(self, x):
            return self.head(self.lstm(x.flatten(1, 2))[0][:, -1])

    dense, model, masks = pruned(Recurrent)
    with pytest.raises(ModelError, match=r"lstm\.weight_ih_l0"):
        recovery.bind("reconstruct")(context(model, masks, dense))
    model = copy.deepcopy(dense)
    masks = prunery.prune(model, 0.5, exclude=["lstm"])
    recovery.bind("reconstruct(images=200)")(context(model, masks, dense))
    with pytest.raises(EvidenceError, match="dense"):
        recovery.bind("reconstruct")(context(model, masks, dense, needs=frozenset({"inputs"})))
    tied = linear()
    tied[3].weight = nn.Parameter(torch.randn(24, 24))
    tied = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 10)
    )
    tied[3].weight = tied[2].weight
    dense, model, masks = pruned(lambda: tied)
    with pytest.raises(ModelError, match="too"):
        recovery.bind("reconstruct")(context(model, masks, dense))


def test_a_layer_that_is_called_twice_is_solved_for_on_all_its_inputs():
    dense, model, masks = pruned(Twice)
    x = next(iter(context(model, masks, dense).images(128)))
    before = float((model(x) - dense(x)).detach().square().sum())
    recovery.bind("reconstruct(images=1000)")(context(model, masks, dense))
    assert float((model(x) - dense(x)).detach().square().sum()) < before


@pytest.mark.parametrize("build", NETS)
def test_runs_that_pause_give_what_runs_of_their_own_give(build, monkeypatch):
    dense, model, masks = pruned(build)
    twin, threads = copy.deepcopy(model), threading.active_count()
    one, other = context(model, masks, dense), context(twin, masks, dense)
    recovery.bind("reconstruct(images=600)")(one)
    assert threading.active_count() == threads

    def apart(context, layers, calls, images):
        for layer in layers:
            sums = Parts(layer, context.device)
            batches = context.images(images, batch=64)
            for a, b in pairs((dense, twin), layer.module_name, batches, calls=1, side="inputs"):
                sums.add(a, b, images)
            yield layer, sums, images

    monkeypatch.setattr(reconstruction, "_summed", apart)
    recovery.bind("reconstruct(images=600)")(other)
    x = next(iter(context(model, masks, dense).images(128)))
    assert torch.allclose(
        model.eval()(x), twin.eval()(x), atol=2e-3
    )  # inputs that never vary may differ more


def test_errors_in_a_paused_run_reach_the_caller_and_no_thread_is_left():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.fails = nn.Linear(64, 8), nn.Linear(8, 10), False

        def forward(self, x):
            x = self.a(x.flatten(1))
            if self.fails:
                raise KeyError("here")
            return self.b(x)

    model, threads = Failing(), threading.active_count()
    x = [torch.zeros(4, 1, 8, 8)] * 2
    failing = copy.deepcopy(model)
    failing.fails = True
    with paused_runs((model, failing), ["a", "b"]) as runs:
        for some in x:
            runs.add(some)
        assert runs.examples == sum(map(len, x))
        for one, other in runs.pairs:
            assert torch.equal(one.until("a"), other.until("a"))
        runs.pairs[0][0].until("b")
        with pytest.raises(KeyError, match="here"):
            runs.pairs[0][1].until("b")
    with paused_runs((model, model), ["a", "b"]) as runs:
        runs.add(x[0])
        runs.pairs[0][0].until("b")
        with pytest.raises(ModelError, match="does not reach"):
            runs.pairs[0][0].until("a")
    assert threading.active_count() == threads
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("bias", [-100.0, 1e4])
def test_inputs_that_do_not_vary_leave_the_outputs_as_they_were(bias):
    dense = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    with torch.no_grad():
        dense[1].weight.mul_(1e-3)
        dense[1].bias.fill_(bias)
    model = copy.deepcopy(dense)
    masks = prunery.prune(model, 0.8)
    recovery.bind("reconstruct(images=256)")(context(model, masks, dense))
    x = next(iter(context(model, None, dense).images(64)))
    assert torch.allclose(
        model(x), dense(x), rtol=1e-4, atol=1e-3 * abs(float(dense(x).detach().abs().max()))
    )


def test_more_images_join_where_they_fit_and_all_layers_are_solved_for(monkeypatch):
    dense, model, masks = pruned(NETS[0])
    whole = copy.deepcopy(model)
    recovery.bind("reconstruct(images=320)")(context(whole, masks, dense))
    inputs = [layer.module_name for layer in prunable(model)]
    sizes = input_sizes(model, inputs, next(iter(context(model, masks, dense).images(1))))
    largest, last = max(sizes.values()), sizes[inputs[-1]]
    assert last < largest
    monkeypatch.setattr("prunery.train.reconstruction._HELD", 16 * largest * 128)
    work = context(model, masks, dense)
    before = layer_errors(model, dense)
    recovery.bind("reconstruct(images=320)")(work)
    assert "on 128 to 320 images" in work.book.notes[0]
    assert all(after < before[name] for name, after in layer_errors(model, dense).items())
    assert work.book.read == 2 * 320
    name = inputs[0] + ".weight"
    assert not torch.equal(model.get_parameter(name), whole.get_parameter(name))


def without_bias():
    model = norm_network()
    model[0].bias = None
    return model


def test_a_batch_norm_behind_a_layer_takes_the_shift_of_its_outputs(monkeypatch):
    dense, model, masks = pruned(without_bias)
    without = copy.deepcopy(model)
    recovery.bind("reconstruct(images=1000)")(context(model, masks, dense))
    one, other = summed(context(model, masks, dense), "1", 1000, 1)
    assert torch.allclose(one.mean(), other.mean(), atol=1e-3)
    monkeypatch.setattr(reconstruction, "_norms_behind", lambda *args: {})
    recovery.bind("reconstruct(images=1000)")(context(without, masks, dense))
    x = next(iter(context(model, None, dense).images(1400)))[:128]
    errors = [float((m[:2](x) - dense[:2](x)).detach().square().mean()) for m in (model, without)]
    assert errors[0] < errors[1], errors


def test_statistics_that_were_estimated_for_other_weights_are_the_dense_networks_again():
    dense, model, masks = pruned(norm_network)
    after = copy.deepcopy(model)
    recovery.bind("bn")(context(after, masks, dense))
    assert not torch.equal(after[1].running_var, dense[1].running_var)
    for some in (model, after):
        recovery.bind("reconstruct(images=1000)")(context(some, masks, dense))
    for (name, p), q in zip(model.state_dict().items(), after.state_dict().values(), strict=True):
        assert torch.allclose(p, q, atol=1e-5), name
    assert torch.equal(after[1].running_var, dense[1].running_var)


def test_with_few_images_the_survivors_are_drawn_towards_the_dense_weights(monkeypatch):
    dense, model, masks = pruned(linear, 0.5)
    free = copy.deepcopy(model)
    recovery.bind("reconstruct(images=40)")(context(model, masks, dense))
    monkeypatch.setattr(reconstruction, "best_share", lambda *args, **more: 0.0)
    recovery.bind("reconstruct(images=40)")(context(free, masks, dense))
    x = torch.cat(list(context(model, None, dense).images(1400)))[40:]
    errors = [float((some(x) - dense(x)).detach().square().mean()) for some in (model, free)]
    assert errors[0] < 0.8 * errors[1], errors
