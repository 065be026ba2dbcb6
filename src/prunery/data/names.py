"""The image sets known by name, and their facts; nothing here imports torch.

The sets are those of their authors' papers, in the encoding of their public repositories. Their `pixels`
are fingerprints of the decoded images and labels, so an altered image is noticed whatever the file format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prunery.errors import ChoiceError, DataError
from prunery.factories import check_exists, is_factory
from prunery.registry import nearest

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Facts:
    """What is known of an image set before any of its files is opened."""

    name: str
    classes: int
    shape: tuple[int, int, int]  # channels, height, width
    rows: Mapping[str, int]  # images per split
    citation: str
    licence: str
    repository: str = ""  # owner/name of the public repository; "" for a set inside the package
    folder: str = ""  # of the parquet files within the repository
    image: str = "image"  # column with a struct of encoded bytes
    label: str = "label"  # column with the class index
    pixels: Mapping[str, str] = field(default_factory=dict)  # fingerprint per split

    def pattern(self, split: str) -> str:
        """Return the glob of a split's files, within `folder`."""
        return f"{split}-*.parquet"

    @property
    def path(self) -> str:
        """The folder of the parquet files below the root of a local mirror, `mnist/mnist`."""
        return f"{self.repository.split('/')[-1]}/{self.folder}"


_CIFAR = "A. Krizhevsky, Learning multiple layers of features from tiny images, 2009"


def _cifar(name: str, classes: int, repository: str, folder: str, label: str, train: str, test: str) -> Facts:
    return Facts(
        name,
        classes,
        shape=(3, 32, 32),
        rows={"train": 50_000, "test": 10_000},
        citation=_CIFAR,
        licence="none stated by the author; cite the report",
        repository=repository,
        folder=folder,
        image="img",
        label=label,
        pixels={"train": train, "test": test},
    )


_ALL = (
    Facts(
        "mnist",
        classes=10,
        shape=(1, 28, 28),
        rows={"train": 60_000, "test": 10_000},
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document "
        "recognition, Proceedings of the IEEE 86(11), 1998",
        licence="as stated by the repository",
        repository="ylecun/mnist",
        folder="mnist",
        pixels={
            "train": "ceb7dae35f33b78023fdd631afb40f55178e62cdc2ffb9a9914d62cf00c16f13",
            "test": "4be5dbf3279c06a13f5ec5886b40e9a0b86af9449a6194a03782ddd01e20fd11",
        },
    ),
    _cifar(
        "cifar10",
        10,
        "uoft-cs/cifar10",
        "plain_text",
        "label",
        "1195f442362167ebcd5a35e348aaaabb4065dcf0abe432f959be61d70d4968f2",
        "77607e1cd43d23381060104a0e869a7ff871ec37fee871f4e3b3ac800f4c3cfd",
    ),
    _cifar(
        "cifar100",
        100,
        "uoft-cs/cifar100",
        "cifar100",
        "fine_label",
        "1da8df67380306c898752e07630834ea42f7ab26c3f384f3cb27280383e9a74f",
        "b6e44deb19674d574732e6b7ad0eda9a598ed0f3d30fc0b69707ea53e2d150bc",
    ),
    _cifar(
        "cifar100-coarse",
        20,
        "uoft-cs/cifar100",
        "cifar100",
        "coarse_label",
        "079977cb649b7d874805beafda1cb9b0c5180307f7ae384fb5fe223da8c16259",
        "ac9e81890609bdeb0e05b9a5299ec1fae8c4371eaf3f33c946a9e85137b5df46",
    ),
    Facts(
        "digits",
        classes=10,
        shape=(1, 8, 8),
        rows={"train": 1442, "test": 355},
        citation="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
        "Repository, 1998, doi 10.24432/C50P49",
        licence="CC BY 4.0",
    ),
)
DATASETS: dict[str, Facts] = {facts.name: facts for facts in _ALL}


def check(name: str) -> None:
    """Check that `name` is a known set or has the form "package.module:factory"; else ChoiceError."""
    if not is_factory(name) and not (isinstance(name, str) and name in DATASETS):
        raise ChoiceError(
            f"data set {name!r}",
            f"there is none of that name{nearest(str(name), DATASETS)}",
            f"choose one of {', '.join(DATASETS)}, or name your own as 'package.module:factory'",
        )


def check_there(name: str) -> None:
    """Check that a user's factory can be found, without running any code of it; DataError if not."""
    if is_factory(name):
        check_exists(f"data set {name!r}", name, DataError)
