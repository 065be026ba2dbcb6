"""Small networks and batches for the tests of core."""

from itertools import pairwise

import torch
from torch import nn


def mlp(*widths, seed=0, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).to(dtype)


class ConvNet(nn.Module):
    """Two convolutions with batch norm, a residual sum, a linear head."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
            self.bn1 = nn.BatchNorm2d(8)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(8)
            self.head = nn.Linear(8, 5)
            for norm in (self.bn1, self.bn2):
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.uniform_(norm.bias, -0.5, 0.5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(x)))
        return self.head(x.mean((2, 3)))


class Odd(nn.Module):
    """Every other kind of prunable layer."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.conv1d = nn.Conv1d(4, 6, 3, padding=1, groups=2)
            self.up = nn.ConvTranspose1d(6, 4, 3, padding=1, groups=2)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.lstm = nn.LSTM(4, 5, batch_first=True)
            self.embedding = nn.Embedding(7, 5)
            self.head = nn.Linear(5, 7)

    def forward(self, x):
        x = self.up(torch.relu(self.conv1d(x))).transpose(1, 2)
        x = self.attention(x, x, x, need_weights=False)[0]
        x = self.lstm(x)[0][:, -1] + self.embedding(torch.zeros(len(x), dtype=torch.long, device=x.device))
        return self.head(x)


class Tied(nn.Module):
    """Two linear layers that share their weight."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.first = nn.Linear(6, 6)
            self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def batch(shape, classes, n=24, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=g), torch.randint(0, classes, (n,), generator=g)
