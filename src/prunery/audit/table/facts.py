"""What is known of data sets and networks without opening them: class shares, credible accuracies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_MNIST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)  # test images of each digit
_SVHN = (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)


@dataclass(frozen=True)
class Data:
    """A data set: its number of classes, and each class's count in the test set where they differ."""

    name: str
    pattern: str  # in the text without blanks, dashes and underscores
    classes: int
    counts: tuple[int, ...] = ()

    def chance(self, k: int) -> float:
        """Return the top-k accuracy of guessing, in %."""
        return min(100.0, 100 * k / self.classes)

    def shares(self) -> list[tuple[int, float]]:
        """Return (class, its share of the test set in %), where the shares differ."""
        total = sum(self.counts)
        return [(i, 100 * count / total) for i, count in enumerate(self.counts)]


_KNOWN = (  # the more specific name first
    Data("CIFAR-100 (coarse)", "cifar100coarse|cifar20", 20),
    Data("CIFAR-100", r"cifar100|(?<![a-z0-9])c100(?!\d)", 100),
    Data("CIFAR-10", r"cifar10|(?<![a-z0-9])c10(?!\d)", 10),
    Data("Fashion-MNIST", "fashionmnist|fmnist", 10),
    Data("KMNIST", "kmnist|kuzushiji", 10),
    Data("EMNIST balanced", "emnistbalanced", 47),
    Data("EMNIST letters", "emnistletters", 26),
    Data("MNIST", r"(?<![a-z])mnist", 10, _MNIST),
    Data("SVHN", "svhn", 10, _SVHN),
    Data("Tiny ImageNet", "tinyimagenet|tinyin", 200),
    Data("ImageNet-100", r"imagenet100(?!0)", 100),
    Data("Imagenette", "imagenette|imagewoof", 10),
    Data("ImageNet", "imagenet|ilsvrc", 1000),
    Data("STL-10", "stl10", 10),
    Data("Food-101", "food101", 101),
)

# (data, network): the highest accuracy that a single dense network of that form has credibly reached, in %,
# plus two points; fully connected networks on MNIST stay below 99.5 without distorted training images
_CREDIBLE: tuple[tuple[str, str, float], ...] = (
    ("MNIST", "fully connected", 99.5),
    ("MNIST", "lenet5", 99.8),
    ("CIFAR-10", "fully connected", 80.0),
    ("CIFAR-10", "lenet5", 85.0),
    ("CIFAR-10", r"vgg11", 95.0),
    ("CIFAR-10", r"vgg(13|16|19)", 96.5),
    ("CIFAR-10", "resnet20", 95.0),
    ("CIFAR-10", "resnet32", 95.8),
    ("CIFAR-10", "resnet(44|56)", 96.5),
    ("CIFAR-10", "resnet(110|18|34|50)", 98.0),
    ("CIFAR-100", "fully connected", 50.0),
    ("CIFAR-100", r"vgg11", 74.0),
    ("CIFAR-100", r"vgg(13|16|19)", 77.5),
    ("CIFAR-100", "resnet(20|32)", 75.0),
    ("CIFAR-100", "resnet(44|56|110)", 79.0),
    ("CIFAR-100", "resnet(18|34|50)", 84.0),
    ("ImageNet", "resnet18", 75.0),
    ("ImageNet", "resnet34", 79.0),
    ("ImageNet", "resnet50", 83.5),
)
_FULLY = re.compile(
    r"^(fc|mlp)(?![-_ ]?mix)|lenet300|(^|[^a-z])(fc|mlp)(?![-_ ]?mix)([^a-z]|$)|fullyconnected|perceptron"
)
_UNUSUAL = re.compile(  # what reaches more than the usual training from scratch of the usual form
    r"pre-?\s?train|transfer|distill|ensemble|extra data|\bwide|width|[×x]\s?[2-9]\b|\b[2-9]\s?[×x](?!\w)"
    r"|imagenet-?21k|jft|swsl|semi-?sup",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"wide_?resnet|wrn|resnext|preact|(?:pre)?resnet(?:18|20|32|34|44|50|56|101|110|152)(?!\d)"
    r"|vgg(?:11|13|16|19)(?!\d)|lenet5|lenet300"
)


def _plain(text: str) -> str:
    return re.sub(r"[-_\s.]", "", text.lower())


@lru_cache(maxsize=4096)
def data_in(text: str) -> Data | None:
    """Return the known data set that a text names."""
    plain = _plain(text)
    spaced = text.lower().replace("-", "").replace("_", " ")
    return next((d for d in _KNOWN if re.search(d.pattern, plain) or re.search(d.pattern, spaced)), None)


@lru_cache(maxsize=4096)
def network_in(text: str) -> str | None:
    """Return the known network that a text names ("fully connected", "vgg16", "resnet18", ...)."""
    if _FULLY.search(_plain(text)) or _FULLY.search(text.lower()):
        return "fully connected"
    match = _NETWORK.search(re.sub(r"[-\s.]", "", text.lower()))
    widened = match is not None and not re.search(r"\d$", match[0])
    return None if match is None or widened else match[0].replace("_", "")


def unusual(text: str) -> bool:
    """Return whether a text speaks of a wider network, of other data before, or of several networks."""
    return _UNUSUAL.search(text) is not None


def credible(data: Data, network: str) -> float | None:
    """Return the accuracy in % above which a value needs an explanation, if one is known."""
    named = (top for name, net, top in _CREDIBLE if name == data.name and re.fullmatch(net, network))
    return next(named, None)
