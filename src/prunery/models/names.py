"""The name, source and smallest image of every model. No torch here.

A name is a row of `MODELS`, or `package.module:factory` for the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from prunery.errors import ChoiceError, ModelError
from prunery.factories import check_exists, is_factory
from prunery.registry import nearest

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Facts:
    """The facts of a model that are known without building it."""

    family: str  # the file of this folder that builds it
    shape: Shape  # input (C, H, W) of the published form
    classes: int  # outputs of the published form
    smallest: int  # least height and least width that still leave something to classify
    source: str


_MNIST, _CIFAR, _IMAGENET = (1, 28, 28), (3, 32, 32), (3, 224, 224)
_LECUN = "LeCun et al. 1998"
_CNN8 = "a course report; see the docstring of prunery.models.cnn8"
_HE = "He et al. 2016"


def _vgg(depth: int) -> Facts:
    return Facts("vgg", _CIFAR, 10, 32, f"Simonyan and Zisserman 2015, VGG-{depth}, CIFAR form")


MODELS: dict[str, Facts] = {
    "lenet300": Facts("dense", _MNIST, 10, 1, f"{_LECUN}, section III.C.4 (784-300-100-10)"),
    "fc": Facts("dense", _MNIST, 10, 1, "Tanaka et al. 2020, code (784-100-100-100-100-100-10)"),
    "lenet5": Facts("lenet", _MNIST, 10, 12, f"{_LECUN}, figure 2"),
    "lenet5-caffe": Facts("lenet", _MNIST, 10, 16, "Jia et al. 2014, the LeNet example (20-50-500-10)"),
    **{f"cnn8{norm}": Facts("cnn8", _CIFAR, 10, 8, _CNN8) for norm in ("", "_bn")},
    **{f"vgg{d}{norm}": _vgg(d) for d in (11, 13, 16, 19) for norm in ("", "_bn")},
    **{f"resnet{d}": Facts("resnet", _CIFAR, 10, 1, f"{_HE}, CIFAR form") for d in (18, 34, 50)},
    **{f"resnet{d}_imagenet": Facts("resnet", _IMAGENET, 1000, 1, f"{_HE}, table 1") for d in (18, 34, 50)},
    **{
        f"resnet{d}": Facts("resnet_cifar", _CIFAR, 10, 1, f"{_HE}, section 4.2")
        for d in (8, 20, 32, 44, 56, 110)
    },
}


def check(name: str, *, shape: Shape | None = None) -> None:
    """Check that `name` is a model, or a factory by its form, and that `shape` is not too small for it.

    ChoiceError names the nearest model; ModelError says the smallest image.
    """
    if is_factory(name):
        return
    if not isinstance(name, str) or name not in MODELS:
        raise ChoiceError(
            f"model {name!r}",
            f"there is none of that name{nearest(str(name), MODELS)}",
            f"choose one of: {', '.join(MODELS)}; or give your own as package.module:factory",
        )
    smallest = MODELS[name].smallest
    if shape is not None and min(shape[1:]) < smallest:
        raise ModelError(
            f"model {name!r} for images of {shape[1]} x {shape[2]}",
            f"it needs at least {smallest} x {smallest}, or nothing is left after its pooling",
            "take a smaller model (lenet300 and fc take any size) or larger images",
        )


def check_there(name: str) -> None:
    """Check that a user's factory can be found, without running any code of it; ModelError if not."""
    if is_factory(name):
        check_exists(f"model {name!r}", name, ModelError)
