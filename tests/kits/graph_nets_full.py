"""Well-known networks at their full size: the table `FULL`, with small versions of it in `QUICK`."""

from __future__ import annotations

import torch
from graph_nets import Net, conv, images, tokens
from graph_nets_operations import Yolo
from graph_nets_text import Gpt, GptAttentionByHeads, Llama, LstmTagger
from graph_nets_vision import bottlenecks, convnext, densenet, mobilenet, stem
from graph_nets_vit import Vit
from torch import Tensor, nn
from torch.nn import functional

from prunery.models.build import build

_MOBILE = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class DeepUNet(nn.Module):
    """Two convolutions a level, halved between them; on the way back what is skipped is put beside."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = list(zip((3, *widths), widths, strict=False))
        self.down = nn.ModuleList(nn.Sequential(conv(a, b), conv(b, b)) for a, b in pairs)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.back = nn.ModuleList(nn.Sequential(conv(2 * b, b), conv(b, b)) for _, b in pairs)
        self.out = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skipped = []
        for level in self.down:
            x = level(functional.max_pool2d(x, 2) if skipped else x)
            skipped.append(x)
        for up, back, beside in zip(self.up, self.back, skipped[-2::-1], strict=True):
            x = back(torch.cat([beside, up(x)], 1))
        return self.out(x)


FULL = {
    "ResNet-18": Net(lambda: build("resnet18", shape=(3, 32, 32), classes=10, seed=0), images(size=32)),
    "ResNet-50": Net(lambda: bottlenecks(64, (3, 4, 6, 3)), images(size=224)),
    "VGG-16": Net(lambda: build("vgg16", shape=(3, 32, 32), classes=10, seed=0), images(size=32)),
    "MobileNetV2": Net(lambda: mobilenet(_MOBILE, 1280), images(size=224)),
    "DenseNet-121": Net(lambda: densenet(64, 32, (6, 12, 24, 16), 1000, stem), images(size=224)),
    "ConvNeXt-T": Net(lambda: convnext((96, 192, 384, 768), (3, 3, 9, 3), 4, 4, 1000), images(size=224)),
    "ViT-B": Net(lambda: Vit(768, 12, 12, 224, 16, classes=1000), images(size=224)),
    "U-Net": Net(lambda: DeepUNet(64, 128, 256, 512, 1024), images(size=128)),
    "YOLO": Net(lambda: Yolo(64, 128, 3, 84), images(size=320)),
    "LSTM tagger": Net(lambda: LstmTagger(20000, 300, 512, 2, 50), tokens(32, 20000)),
    "GPT-2": Net(lambda: Gpt(768, 12, 12, 1024, 50257, GptAttentionByHeads), tokens(128, 50257)),
    "LLaMA": Net(lambda: Llama(1024, 16, 4, 2816, 12, 32000), tokens(128, 32000)),
}

QUICK = {
    "ResNet-18": Net(lambda: build("resnet8", shape=(3, 32, 32), classes=10, seed=0), images(size=32)),
    "ResNet-50": Net(lambda: bottlenecks(8, (1, 2)), images(size=32)),
    "VGG-16": Net(lambda: build("vgg11", shape=(3, 32, 32), classes=10, seed=0), images(size=32)),
    "MobileNetV2": Net(lambda: mobilenet(_MOBILE[:3], 64), images(size=32)),
    "DenseNet-121": Net(lambda: densenet(16, 8, (3, 3), 10, stem), images(size=32)),
    "ConvNeXt-T": Net(lambda: convnext((8, 16), (1, 2), 4, 4, 10), images(size=32)),
    "ViT-B": Net(lambda: Vit(32, 4, 2, 32, 8, classes=10), images(size=32)),
    "U-Net": Net(lambda: DeepUNet(8, 12, 16), images(size=32)),
    "YOLO": Net(lambda: Yolo(8, 16, 1, 12), images(size=64)),
    "LSTM tagger": Net(lambda: LstmTagger(50, 12, 16, 2, 10), tokens(8, 50)),
    "GPT-2": Net(lambda: Gpt(32, 4, 2, 16, 50, GptAttentionByHeads), tokens(8, 50)),
    "LLaMA": Net(lambda: Llama(32, 4, 2, 48, 2, 50), tokens(8, 50)),
}
