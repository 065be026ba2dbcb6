# %% [markdown]
# # A network of your own, smaller and faster
#
# Trained, pruned, fine-tuned, checked, saved, loaded, made faster, exported: a small convolutional network on the 8x8
# digits that come with the package; about half a minute on one core. Open it as a notebook (VS Code, Jupyter with
# jupytext) or run `python examples/ship.py [FOLDER]`. The faster callable needs `pip install 'prunery[runtime]'`, ONNX
# `prunery[export]`; without them the cell says so.

# %%
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import prunery
from prunery.data.batches import Batches
from prunery.data.sets import load
from prunery.data.splits import Split, split
from prunery.export.formats import export
from prunery.measure.accuracy import evaluate

given = sys.argv[1:] and not sys.argv[1].startswith("-")
folder = Path(sys.argv[1] if given else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)

# %% [markdown]
# ## Your network, your training
#
# Nothing here knows that anything is pruned.


# %%
class Net(nn.Module):
    """Three convolutions with batch norm, and a head."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        sizes = [1, width, width, width]
        self.layers = nn.Sequential(*(self.layer(a, b) for a, b in pairwise(sizes)))
        self.head = nn.Linear(width, 10)

    @staticmethod
    def layer(inputs: int, outputs: int) -> nn.Sequential:
        """Return a convolution with its norm."""
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (b, 10), of images (b, 1, 8, 8)."""
        return self.head(self.layers(x).mean((2, 3)))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, images: Split, epochs: int) -> None:
    """Train a model."""
    model.train()
    for epoch in range(epochs):
        for x, y in Batches(images, batch=64, seed=0, epoch=epoch, shuffle=True):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    model.eval()


images, model = split(load("digits"), seed=0), Net()
example = next(iter(Batches(images.validation, batch=16, seed=0)))[0]
train(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), images.train, epochs=2)
print(f"dense: top-1 {evaluate(model, images.test).top1:.2f} %")

# %% [markdown]
# ## Prune, and fine-tune
#
# `prune` works in place: exactly 95 % of the weights are 0. `enforce` keeps them 0 in any loop.

# %%
masks = prunery.prune(model, "95%")
print(f"pruned: top-1 {evaluate(model, images.test).top1:.2f} %")
optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
with masks.enforce(optimizer, model):
    train(model, optimizer, images.train, epochs=2)

# %% [markdown]
# ## Check
#
# `verify` raises if a removed weight is not 0. `cost` counts what is left, and what of it a live path uses.

# %%
masks.verify(model)
tuned = evaluate(model, images.test)
print(f"fine-tuned: top-1 {tuned.top1:.2f} %")
print(prunery.cost(model, example[:1], masks))

# %% [markdown]
# ## Save and load
#
# One file without pickle, as small as what it holds, to the bit.

# %%
print(prunery.save(model, folder / "model.prunery", masks=masks))
loaded = prunery.load(folder / "model.prunery", into=Net()).eval()
print(f"loaded: top-1 {evaluate(loaded, images.test).top1:.2f} %")

# %% [markdown]
# ## Faster
#
# The sparse callable skips zeros on a CPU. It measures first, and runs what is fastest here: the dense network, if that is.

# %%
fast = prunery.sparse_callable(loaded, example, threads=1)
with torch.no_grad():
    print(f"its outputs differ by at most {float((loaded(example) - fast(example)).abs().max()):.1g}")
print(fast.report().verdict)
print(prunery.latency({"torch": loaded, "sparse": fast}, example, threads=1))

# %% [markdown]
# ## ONNX
#
# The file is kept only if it computes what the pruned network does.

# %%
try:
    print(export(loaded, folder / "model.onnx", "onnx", example, masks=masks))
except prunery.PruneryError as missing:
    print(missing)
