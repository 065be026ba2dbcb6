"""Small networks for the graph of channels, by name: the table `NETS`, and how one of them is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Example = Callable[[int], Any]


@dataclass(frozen=True)
class Net:
    """A network: how it is built, and an example of a given batch size.

    batches: whether it can be called with another batch size than that of the example.
    """

    build: Callable[[], nn.Module]
    example: Example
    batches: bool = True


NETS: dict[str, Net] = {}


def net(example: Example, *, batches: bool = True) -> Callable[[Any], Any]:
    """Enter a module's class, or a function that builds one, under its name."""

    def enter(build: Any) -> Any:
        NETS[build.__name__] = Net(build, example, batches)
        return build

    return enter


def images(channels: int = 3, size: int = 8, *more: int) -> Example:
    return lambda batch: torch.randn(batch, channels, *(more or (size, size)))


def values(*shape: int) -> Example:
    return lambda batch: torch.randn(batch, *shape)


def tokens(length: int = 6, vocabulary: int = 20) -> Example:
    return lambda batch: torch.randint(0, vocabulary, (batch, length))


def made(name: str, seed: int = 0) -> nn.Module:
    """Return a network with norms and biases that are not 0 and 1, in eval mode."""
    return built(NETS[name].build, seed)


def built(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().eval()
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 2.0)
                elif tensor.ndim == 1 and tensor.is_floating_point():
                    tensor.add_(torch.randn_like(tensor) * 0.2)
        return model


def example_of(name: str, batch: int = 2, seed: int = 1) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NETS[name].example(batch)


def load_all() -> dict[str, Net]:
    """Return all networks, from the files that hold them."""
    import graph_nets_24  # noqa: F401
    import graph_nets_operations  # noqa: F401
    import graph_nets_text  # noqa: F401
    import graph_nets_vision  # noqa: F401
    import graph_nets_vit  # noqa: F401
    import graph_nets_writes  # noqa: F401

    return NETS


def norm_act(width: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def conv(into: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution without bias, a batch norm and an activation in place."""
    pad = kernel // 2
    return nn.Sequential(
        nn.Conv2d(into, out, kernel, stride, pad, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


class Head(nn.Module):
    """Mean over positions, then a linear layer."""

    def __init__(self, width: int, classes: int = 5) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(2).mean(2))
