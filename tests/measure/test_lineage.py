"""From any view or copy of a weight back to its elements, against counting them one by one."""

import pytest
import torch
from cost_kit import Written, parameter
from torch import nn

from prunery.core.layers import all_layers
from prunery.graph.uses.lineage import dense, same_layout, span, through_view
from prunery.measure.cost import cost
from prunery.measure.macs import count_uses

ROWS = 5
INDEX = torch.tensor([2, 0, 0])

# views and copies of a weight (4, 6, 2); each is multiplied as a matrix with five rows
FORMS = {
    "itself": lambda w: w,
    "transposed": lambda w: w.transpose(0, 2),
    "permuted": lambda w: w.permute(1, 2, 0),
    "a slice": lambda w: w[1:3],
    "a slice and a view": lambda w: w[1:3].view(-1, 3),
    "every other row": lambda w: w[::2],
    "every other column": lambda w: w[:, ::2],
    "from behind": lambda w: w[-1],
    "a box": lambda w: w[1:, 2:5, 1:],
    "one of a stack": lambda w: w[3],
    "one column": lambda w: w[:, :, 1],
    "repeated": lambda w: w.unsqueeze(1).expand(4, 3, 6, 2),
    "a repeated part": lambda w: w[2].expand(3, 6, 2),
    "merged axes": lambda w: w.view(24, 2),
    "split axes": lambda w: w.view(2, 2, 6, 2)[1],
    "a diagonal": lambda w: w[:, :4].diagonal(),
    "overlapping windows": lambda w: w.unfold(1, 3, 1),
    "as strided": lambda w: w.as_strided((3, 2), (7, 1), 5),
    "flipped": lambda w: w.flip(0, 2),
    "rolled": lambda w: w.roll(1, 1),
    "tiled": lambda w: w.repeat(2, 1, 3),
    "padded": lambda w: nn.functional.pad(w, (1, 2, 0, 1)),
    "chosen rows": lambda w: w[INDEX],
    "chosen rows, transposed": lambda w: w[INDEX].transpose(1, 2)[0:2],
    "chosen columns": lambda w: w[:, INDEX],
    "a chosen element": lambda w: w[INDEX, INDEX],
    "index_select": lambda w: w.index_select(0, INDEX),
    "index_select of columns": lambda w: w.index_select(1, INDEX),
    "gathered": lambda w: w.gather(1, INDEX.view(1, 3, 1).expand(4, 3, 2)),
    "rows of a mask": lambda w: w[torch.tensor([True, False, True, True])],
    "negative rows": lambda w: w[torch.tensor([-1, 1])],
    "taken": lambda w: w.take(torch.tensor([3, 3, 40])),
    "joined": lambda w: torch.cat([w[:2], torch.ones(3, 6, 2), w[1:]]),
    "joined twice": lambda w: torch.cat([w, w], 1),
    "stacked": lambda w: torch.stack([w[0], w[3]], 1),
    "looked up": lambda w: nn.functional.embedding(INDEX, w.view(4, 12)),
    "a copy of a part": lambda w: w[1:3].transpose(0, 1).contiguous()[2:],
    "another precision": lambda w: w.double()[:, 1:],
    "scaled": lambda w: (w * torch.arange(1, 3))[..., :1],
    "changed in place": lambda w: w.clone().mul_(2).clamp_(min=1)[1],
    "set to zero": lambda w: w.clone().zero_(),
    "copied into a buffer": lambda w: torch.empty(2, 6, 4).copy_(w.transpose(0, 2))[1],
}


def uses_of(model, example, name="w"):
    counted = count_uses(model, all_layers(model, [name])[0], example)
    return next(uses for weight, uses in counted.per_example.items() if weight.name == name)


def times_rows(form):
    """A model that multiplies five rows by what a form makes of its weight."""

    def forward(s, x):
        matrix = form(s.w).float()
        matrix = matrix.reshape(-1, matrix.shape[-1])
        return torch.ones(ROWS, len(matrix), device=x.device) @ matrix

    return Written(forward, w=parameter(4, 6, 2))


@pytest.mark.parametrize("form", FORMS)
def test_every_element_is_used_as_often_as_it_stands_there(form):
    stand_there = _as_moved(form, torch.arange(1.0, 49).view(4, 6, 2))
    expected = torch.bincount(stand_there.long(), minlength=49)[1:].view(4, 6, 2) * ROWS
    uses = uses_of(times_rows(FORMS[form]), torch.ones(1, 1))
    assert torch.equal(torch.as_tensor(uses).expand(4, 6, 2), expected)


@pytest.mark.parametrize("form", list(FORMS)[:22])
def test_on_the_meta_device_as_on_the_cpu(form):
    model = times_rows(FORMS[form])
    expected = uses_of(model, torch.ones(1, 1))
    assert torch.equal(
        torch.as_tensor(uses_of(model.to("meta"), torch.ones(1, 1))), torch.as_tensor(expected)
    )


def test_rows_that_are_chosen_on_the_meta_device_are_not_known():
    model = Written(lambda s, x: torch.bmm(x.view(3, 1, 6), s.w[x[0, :3, 0].long()]), w=parameter(4, 6, 2))
    price = cost(model.to("meta"), torch.ones(1, 3, 6), include=["w"])
    assert price.macs.dense == 0
    assert price.notes == ("MACs not known for w: nothing here counts how index uses it",)


def _as_moved(form, numbers):
    """The numbers of the elements that a form holds, in any order, and 0 for others."""
    plain = {
        "scaled": lambda w: w[..., :1],
        "changed in place": lambda w: w[1],
        "set to zero": lambda w: w,
        "joined": lambda w: torch.cat([w[:2], torch.zeros(3, 6, 2), w[1:]]),
    }
    return plain.get(form, FORMS[form])(numbers).reshape(-1)


def test_a_weight_that_does_not_lie_row_by_row():
    weight = nn.Parameter(torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last))
    model = Written(lambda s, x: nn.functional.conv2d(x, s.w[1:3]), w=weight)
    counted = count_uses(model, all_layers(model, ["w"])[0], torch.randn(1, 3, 5, 5))
    uses = counted.per_example[counted.weights[0]].expand(4, 3, 5, 5)
    assert torch.equal(uses, torch.tensor([0, 1, 1, 0]).view(4, 1, 1, 1).expand(4, 3, 5, 5))


def test_real_and_imaginary_parts_are_uses_of_one_element():
    def apart(s, x):
        return x @ torch.view_as_real(s.w)[..., 0] + x @ s.w.imag[:, :2].repeat(1, 3)

    model = Written(apart, w=parameter(8, 6, dtype=torch.complex64), l=nn.Linear(1, 1))
    counted = count_uses(model, all_layers(model)[0], torch.randn(1, 5, 8))
    uses = next(uses for weight, uses in counted.per_example.items() if weight.name == "w")
    expected = torch.full((8, 6), 5)
    expected[:, :2] += 15
    assert torch.equal(uses.expand(8, 6), expected)


def test_weights_that_lie_in_one_memory():
    """As cuDNN's recurrent layers keep theirs: each is known by its place."""
    memory = torch.randn(48)
    first, second = nn.Parameter(memory[:24].view(4, 6)), nn.Parameter(memory[24:].view(6, 4))
    model = Written(lambda s, x: x @ s.a.T @ s.b.T[:, 1:3], a=first, b=second)
    counted = count_uses(model, all_layers(model, ["a", "b"])[0], torch.randn(1, 5, 6))
    a, b = (counted.per_example[weight] for weight in counted.weights)
    assert a == 5
    assert b.flatten().tolist() == [0, 5, 5, 0, 0, 0]


def test_where_a_view_lies():
    base = torch.arange(24.0).view(4, 6)
    assert span(base[1]) == (24, 48)
    assert span(base[:, 1:3]) == (4, 4 * (18 + 3))
    assert span(base[2:2]) == (48, 48)
    assert dense(base.T)
    assert not dense(base[:, :3])
    assert not dense(base[:1].expand(3, 6))
    assert same_layout(base, base.view(4, 6))
    assert not same_layout(base, base.T.contiguous().T)
    assert through_view(base.T, base)(7) == 7
