"""Networks, a context and a cut, for the tests of recoveries that know the dense network."""

import copy

import torch
from nets import ConvNet, mlp
from torch import nn
from train_kit import digits, norm_network

import prunery
from prunery.train.recovery_context import RecoveryContext

DATA = digits()


def context(model, masks, dense, **more):
    return RecoveryContext(
        model, masks, DATA, seed=1, networks={"dense": lambda: copy.deepcopy(dense)}, **more
    )


class Digits(nn.Module):
    """A residual network with batch norm on images of 8 x 8."""

    def __init__(self):
        super().__init__()
        self.inner = ConvNet()
        self.inner.conv1, self.inner.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        return self.inner(x)


class Attending(nn.Module):
    """Patches, one block of attention with plain linear layers, norms and a head."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.embed, self.qkv, self.out = nn.Linear(8, 16), nn.Linear(16, 48), nn.Linear(16, 16)
            self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 10)
            self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)

    def forward(self, x):
        x = self.embed(x.flatten(1, 2))
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v))
        x = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


class Twice(nn.Module):
    """Calls one of its layers twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(64, 24), nn.Linear(24, 24), nn.Linear(24, 10)

    def forward(self, x):
        x = torch.relu(self.b(torch.relu(self.a(x.flatten(1)))))
        return self.head(torch.relu(self.b(x)))


def linear():
    return nn.Sequential(nn.Flatten(), *mlp(64, 32, 24, 10))


class Conv1D(nn.Module):
    """The linear layer of GPT-2: weight (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.empty(nx, nf)), nn.Parameter(torch.zeros(nf))
        nn.init.normal_(self.weight, std=nx**-0.5, generator=torch.Generator().manual_seed(nx + nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


class Gpt(nn.Module):
    """An MLP of GPT-2 with its norm, on the rows of images."""

    def __init__(self):
        super().__init__()
        self.norm, self.c_fc, self.c_proj, self.head = (
            nn.LayerNorm(8),
            Conv1D(32, 8),
            Conv1D(8, 32),
            Conv1D(10, 8),
        )

    def forward(self, x):
        x = x.flatten(1, 2)
        x = x + self.c_proj(nn.functional.gelu(self.c_fc(self.norm(x))))
        return self.head(x.mean(1))


NETS = [linear, norm_network, Digits, Attending, Gpt]


def pruned(build, sparsity=0.7, **more):
    dense = build().eval()
    model = copy.deepcopy(dense)
    return dense, model, prunery.prune(model, sparsity, scope="layer", **more)
