"""SynFlow sums all floating-point outputs, in whatever they are returned."""

import dataclasses
from collections import OrderedDict, deque, namedtuple
from types import SimpleNamespace

import pytest
import torch
from flow_kit import flow, seeded
from nets import mlp
from torch import nn

from prunery.errors import EvidenceError


class Heads(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form, self.body = form, mlp(6, 8)
        self.a, self.b, self.c = nn.Linear(8, 3), nn.Linear(8, 2), nn.Linear(8, 4)

    def forward(self, x):
        y = self.body(x)
        return self.form(self.a(y), self.b(y), self.c(y))


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    others: list


class ModelOutput(OrderedDict):
    """As transformers has it: a mapping whose entries are attributes too."""

    def __getattr__(self, name):
        return self[name]


FORMS = {
    "tuple": lambda a, b, c: (a, b, c),
    "mapping": lambda a, b, c: {"a": a, "b": b, "c": c},
    "logits and others": lambda a, b, c: ModelOutput(logits=a, hidden=(b, c), cache=None),
    "nested": lambda a, b, c: [a, {"more": (b, [c])}],
    "dataclass": lambda a, b, c: Output(a, [b, c]),
    "named tuple": lambda a, b, c: namedtuple("out", "a rest")(a, (b, c)),
    "with indices": lambda a, b, c: (a.argmax(1), a, b, c, a.detach(), "name", None),
    "one twice": lambda a, b, c: {"all": [a, b, c], "first": a},
    "with a loss": lambda a, b, c: {"loss": a.square().mean(), "logits": a, "others": [b, c]},
    "a namespace": lambda a, b, c: SimpleNamespace(a=a, rest=SimpleNamespace(b=b, c=c)),
    "other collections": lambda a, b, c: (deque([a]), {"b": b, "c": c}.values()),
    "without axes": lambda a, b, c: (a.sum(), b.sum(), c),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_floating_output_counts(form):
    x = torch.randn(1, 6)
    expected = flow(seeded(Heads, lambda *outputs: torch.cat(outputs, 1)), x)
    scored = flow(seeded(Heads, form), x)
    assert all(torch.allclose(scored[name], expected[name], rtol=1e-12) for name in expected)
    assert all(scored[f"{head}.weight"].abs().sum() > 0 for head in "abc")


def test_outputs_without_a_tensor_are_refused():
    with pytest.raises(EvidenceError, match="floating-point tensor in the model's output"):
        flow(Heads(lambda a, b, c: {"classes": a.argmax(1), "note": "none"}), torch.randn(1, 6))
    with pytest.raises(EvidenceError, match="no_grad or detach"):
        flow(Heads(lambda a, b, c: a.detach()), torch.randn(1, 6))
