"""Groups of channels beside those of torch-pruning: what shrinks when one channel of a layer goes.

pip install --target FOLDER --no-deps torch-pruning
PYTHONPATH=FOLDER python benchmarks/against_torch_pruning.py

For each layer its first channel goes, in both libraries. Compared is which axes of which parameters and
buffers shrink, and by how many places. Where they differ, both smaller networks are run against the
original with the same values at zero: "equal", "unequal" or "breaks" says who is right. A layer whose
channels Prunery keeps (they leave the network, or a norm over all of them reads them) counts apart. The exit
status is 1 where Prunery's own network is unequal, 2 where torch-pruning is not installed.
"""

from __future__ import annotations

import argparse
import copy
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "kits"))

import graph_compare
import graph_nets

from prunery.export.edit import registered
from prunery.graph.coupling import Graph, graph_of
from prunery.graph.shrink import Removal

NETS = (
    *("PlainConvNet", "ResNet", "ResNetBottleneck", "VggBn", "MobileNetV2", "DenseNet", "UNet"),
    *("Inception", "Yolo", "ResidualAdd", "GroupNorm", "ConvNeXt", "ShuffleNet", "VitTimm"),
)
Places = dict[tuple[str, int], list[int]]
"""What goes: the places along an axis of a parameter or buffer."""


def ours(graph: Graph, name: str, axis: int) -> tuple[Places | None, np.ndarray]:
    """Return what goes with the first channel along an axis, and that channel; None where it must stay."""
    channel = graph.flow.channels.find(graph.flow.axes[name, axis][:1])
    if not any(np.isin(channel, group.roots).all() for group in graph.free):
        return None, channel
    removal = Removal(graph.flow, channel)
    gone = {at: np.flatnonzero(~removal.kept(ids)).tolist() for at, ids in graph.flow.axes.items()}
    return {at: places for at, places in gone.items() if places}, channel


def theirs(tp: Any, model: nn.Module, example: Any, layer: str) -> tuple[Places, nn.Module]:
    """Return what torch-pruning removes with the first channel of a layer, and the smaller network.

    It prunes a copy in which each value is its own place, so that what is left can be read off.
    """
    places = copy.deepcopy(model).double()
    for tensor in registered(places).values():
        tensor.data.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
    inputs = example.double() if example.is_floating_point() else example
    graph = tp.DependencyGraph().build_dependency(places, example_inputs=inputs)
    module = places.get_submodule(layer)
    prune = graph.get_pruner_of_module(module).prune_out_channels
    graph.get_pruning_group(module, prune, idxs=[0]).prune()
    gone: Places = {}
    before = registered(model)
    for name, left in registered(places).items():
        old = before[name]
        kept = np.unravel_index(left.detach().long().numpy().reshape(-1), old.shape or (1,))
        for axis, size in enumerate(old.shape):
            lost = sorted(set(range(size)) - set(kept[axis].tolist()))
            if lost:
                gone[name, axis] = lost
        left.data = old.detach().reshape(-1)[left.detach().long()]
    return gone, places


def zeroed(model: nn.Module, gone: Places) -> nn.Module:
    """Return a copy of a network with what goes at zero."""
    masked = copy.deepcopy(model)
    tensors = registered(masked)
    for (name, axis), places in gone.items():
        tensors[name].data.index_fill_(axis, torch.tensor(places), 0)
    return masked


def judged(model: nn.Module, small: nn.Module, gone: Places, example: Tensor) -> str:
    """Return whether a smaller network computes what the original does with what went at zero."""
    try:
        pair = [graph_compare.call(m, example) for m in (zeroed(model, gone), small)]
    except Exception:  # whatever the smaller network raises
        return "breaks"
    return "equal" if graph_compare.difference(*pair) <= graph_compare.TOLERANCE else "unequal"


def layers_of(model: nn.Module) -> list[str]:
    """Return the names of the convolutions and linear layers."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
    return [name for name, module in model.named_modules() if isinstance(module, kinds)]


def compared(tp: Any, model: nn.Module, graph: Graph, example: Tensor, layer: str) -> tuple[str, str]:
    """Return the kind of what both libraries do with a layer, and details where they differ."""
    axis = int(isinstance(model.get_submodule(layer), nn.ConvTranspose2d))
    own, channel = ours(graph, f"{layer}.weight", axis)
    try:
        other, small = theirs(tp, model, example, layer)
        verdict = f"is {judged(model, small, other, example)}".replace("is breaks", "breaks")
    except Exception as error:  # whatever it raises
        other, verdict = {}, f"refuses ({type(error).__name__})"
    if own is None:
        return f"kept: torch-pruning's {verdict}", ""
    mine = graph_compare.worst(model, graph, channel, [example]) <= graph_compare.TOLERANCE
    if own == other:
        return f"same{'' if mine else ', UNEQUAL'}", ""
    kind = f"differ: Prunery's is {'equal' if mine else 'UNEQUAL'}, torch-pruning's {verdict}"
    only = [f"{n}[{a}]" for n, a in sorted(set(own) - set(other))]
    more = [f"{n}[{a}]" for n, a in sorted(set(other) - set(own))]
    else_ = [f"{n}[{a}]" for n, a in sorted(set(own) & set(other)) if own[n, a] != other[n, a]]
    return kind, f"only Prunery {only[:4]}, only torch-pruning {more[:4]}, other places {else_[:4]}"


def main() -> int:
    """Print what both libraries do, network by network; return 1 where Prunery's own is unequal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--nets", nargs="+", default=NETS, choices=sorted(graph_nets.load_all()), metavar="NET"
    )
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="Unwrapped parameters")
    try:
        import torch_pruning as tp
    except ImportError:
        print("nothing compared: torch-pruning is not installed; --help says how", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    total: Counter[str] = Counter()
    for name in options.nets:
        model, example = graph_nets.made(name), graph_nets.example_of(name)
        graph, counts = graph_of(model, example), Counter[str]()
        for layer in layers_of(model):
            kind, detail = compared(tp, model, graph, example, layer)
            counts[kind] += 1
            if detail:
                print(f"{name}.{layer}: {kind}; {detail}")
        print(
            f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())), flush=True
        )
        total += counts
    print("all: " + ", ".join(f"{count} {kind}" for kind, count in total.most_common()))
    return int(any("UNEQUAL" in kind for kind in total))


if __name__ == "__main__":
    sys.exit(main())
