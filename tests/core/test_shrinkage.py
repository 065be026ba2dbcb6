"""Grams of few columns: held-out columns say how far they are trusted, so that no layer looks idle for it."""

import pytest
import torch
from torch import nn

import prunery
from prunery.core.grams import FEW
from prunery.core.shrinkage import likeliest_share, parted, towards_diagonal


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gram(x):
    return (x.T @ x / len(x))[None]


def test_independent_inputs_are_drawn_to_the_diagonal_and_alike_ones_only_while_columns_are_few():
    alike = draw(1, 20, seed=5) + 0.1 * draw(20, 20, seed=6)

    def share(mix, count):
        x = draw(count + 400, 20) @ mix
        return likeliest_share(gram(x[:count]), gram(x[count:]))

    assert share(torch.eye(20), 30) >= 0.7
    assert 0 < share(alike, 30) < 0.2
    assert share(alike, 20_000) == 0


def test_fewer_columns_than_inputs_still_say_a_share():
    x = draw(40, 64)
    x[:, 3] = 0  # an input that is always 0 says nothing
    assert likeliest_share(gram(x[:30]), gram(x[30:])) >= 0.4


def test_rare_inputs_do_not_drown_what_the_others_say():
    x = draw(4000, 20) @ (draw(1, 20, seed=5) + 0.1 * draw(20, 20, seed=6))
    rare = torch.zeros(4000, 5)
    rare[3990:] = 1
    x = torch.cat([x, rare], 1)
    assert likeliest_share(gram(x[:3000]), gram(x[3000:])) == 0
    rare[7] = 0.01
    assert likeliest_share(gram(torch.cat([x[:3000, :20], rare[:3000]], 1)), gram(x[3000:])) == 0


def test_towards_the_diagonal_keeps_it():
    some = gram(draw(30, 4))
    moved = towards_diagonal(some, 0.25)
    assert torch.equal(moved.diagonal(dim1=1, dim2=2), some.diagonal(dim1=1, dim2=2))
    assert torch.allclose(moved[0, 0, 1], 0.75 * some[0, 0, 1])


@pytest.mark.parametrize("size", [1, 3, 10])
def test_which_rows_are_held_out_does_not_depend_on_batches(size):
    x, held = torch.arange(10), []
    for lo in range(0, 10, size):
        held += [row for out, rows in parted(x[lo : lo + size], lo) for row in rows.tolist() if out]
    assert held == [3, 7]


def wide_behind_a_convolution():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(8 * 36, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip


def test_a_layer_is_not_emptied_because_few_examples_were_read():
    few, many = (wide_behind_a_convolution() for _ in range(2))
    x = draw(FEW * 8 * 36, 1, 8, 8)
    small = prunery.prune(few, 0.5, criterion="obs", batches=[x[:48]])
    large = prunery.prune(many, 0.5, criterion="obs", batches=list(x.split(1024)))
    shares = [float(masks["5.weight"].float().mean()) for masks in (small, large)]
    assert shares[0] > 0.7 * shares[1], shares


def test_batch_size_does_not_matter():
    x, found = draw(60, 1, 8, 8), []
    for size in (60, 7, 1):
        model = wide_behind_a_convolution()
        found.append(prunery.prune(model, 0.5, criterion="obs", batches=list(x.split(size))))
    same = [float((found[0][n] == other[n]).float().mean()) for other in found[1:] for n in other]
    assert min(same) > 0.999, same
