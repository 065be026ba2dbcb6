"""What happens to the surviving weights after a cut: each row is an action, a recovery is a list of them.

An action is a function of a `RecoveryContext` that changes the context's model in place. Its facts:
`trains`: whether it trains (an option `train: false` switches that off);
`needs`: words for what it reads: "labels" (the data with their labels, and training), "dense" (the trained
network that was never pruned), "init" (the network at initialisation), "inputs" (what enters a layer);
`resets`: "init" or "reinit" where the survivors' values are set back first, so that earlier training is lost;
`check`: a function of the options that raises if the action cannot do what they ask.
Reading what was not declared is an error. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prunery.errors import ChoiceError
from prunery.registry import Registry

if TYPE_CHECKING:
    from prunery.train.recovery_context import RecoveryContext

recovery: Registry = Registry("recovery")

NEEDS = ("labels", "dense", "init", "inputs")
"""The words that a row's `needs` may hold."""

Settings = Mapping[str, Any]


def _only_initialisation(options: Mapping[str, Any]) -> None:
    to = options["to"]
    if to != 0 or isinstance(to, bool):
        raise ChoiceError(f"recovery rewind(to={to!r})", "only initialisation can be rewound to", "use to=0")


@recovery.add(trains=False, needs="", source="the network as the cut leaves it")
def none(context: RecoveryContext) -> None:
    """Do nothing: the survivors keep their values and are not trained."""


@recovery.add(
    trains=True,
    needs="labels",
    source="Han et al. 2015, Learning both weights and connections, section 3",
)
def finetune(context: RecoveryContext, *, training: Settings | None = None) -> None:
    """Train on from the surviving values, with a fresh optimiser and learning-rate schedule."""
    context.train(training)


@recovery.add(
    trains=True,
    needs="labels init",
    resets="init",
    check=_only_initialisation,
    source="Frankle and Carbin 2019, The lottery ticket hypothesis; Frankle et al. 2020, section 2",
)
def rewind(
    context: RecoveryContext, *, to: int = 0, train: bool = True, training: Settings | None = None
) -> None:
    """Set the survivors back to their values at initialisation (`to=0`), then train unless `train` is False.

    Frankle et al. 2020 also rewind to an early iteration; only 0 is available, anything else raises.
    """
    context.reset_("init")
    if train:
        context.train(training)


@recovery.add(
    trains=True,
    needs="labels",
    resets="reinit",
    source="Liu et al. 2019, Rethinking the value of network pruning, section 3 (from scratch)",
)
def reinit(context: RecoveryContext, *, train: bool = True, training: Settings | None = None) -> None:
    """Give the survivors fresh random values under the same masks, then train unless `train` is False."""
    context.reset_("reinit")
    if train:
        context.train(training)


@recovery.add(
    trains=True,
    needs="labels",
    resets="reinit",
    source="Liu et al. 2019, Rethinking the value of network pruning, section 3 (Scratch-E)",
)
def scratch(context: RecoveryContext, *, training: Settings | None = None) -> None:
    """Train a fresh network of the shape that the masks leave, drawn for as many inputs as are left."""
    context.reset_("reinit")
    context.scale_to_inputs_()
    context.train(training)


@recovery.add(
    trains=False,
    needs="",
    source="Li et al. 2020, EagleEye, section 3.3 (adaptive batch normalisation)",
)
def bn(context: RecoveryContext) -> None:
    """Estimate batch norm's means and variances again on training images; no weight is trained."""
    if not context.estimate_norms_():
        context.note("there is no batch norm to estimate")


@recovery.add(
    trains=False,
    needs="dense inputs",
    source="Nagel et al. 2019, Data-free quantization, section 4.2 (bias correction), on images",
)
def bias(context: RecoveryContext, *, images: int = 1024) -> None:
    """Correct each bias, layers in order, so that the mean of each channel is the dense network's.

    Biases of convolutions, linear layers and of batch, layer and group norms, on `images` training images
    without labels; nothing is trained.
    """
    from prunery.train.moments import match_

    count = match_(context, images=images, scale=False)
    context.note(f"{count} biases corrected on {images} images without labels, no gradient step")


@recovery.add(
    trains=False,
    needs="dense inputs",
    above={"damp": 0.0},
    source="Frantar and Alistarh 2022 (OBC), section 3; He et al. 2017, eq. 5 (outputs of the dense network)",
)
def reconstruct(context: RecoveryContext, *, images: int = 4096, damp: float = 0.001) -> None:
    """Solve for the surviving weights and biases of each layer, so that its outputs are the dense network's.

    In the order of calls, on what enters the layer in the network that is pruned and solved for before it:
    least squares of the dense network's outputs, on training images without labels. damp: the share of the
    mean of the Gram's diagonal that draws the weights towards the dense ones; it decides where inputs are
    always 0. Of few examples a quarter is held out, which says how much more they are drawn. A batch norm
    behind a layer becomes the dense network's, but for the shift of a layer without a bias. Layers without
    removed weights are solved for too. ModelError: a pruned weight that is neither of a linear layer nor of a
    convolution, or that modules share.
    """
    from prunery.train.reconstruction import reconstruct_

    reconstruct_(context, images=images, damp=damp)


@recovery.add(
    trains=False,
    needs="dense inputs",
    source="Jordan et al. 2023 (REPAIR), section 3: each channel's mean and variance",
)
def repair(context: RecoveryContext, *, images: int = 1024) -> None:
    """Scale and shift each channel, layers in order, so that its mean and variance are the dense network's.

    Weights and biases of convolutions and linear layers, scales and shifts of batch, layer and group norms; a
    layer without bias is only scaled. On `images` training images without labels; nothing is trained.
    """
    from prunery.train.moments import match_

    count = match_(context, images=images, scale=True)
    context.note(f"channels of {count} modules scaled on {images} images without labels, no gradient step")


@recovery.add(
    trains=False,
    needs="dense",
    above={"learning_rate": 0.0},
    source="Hinton et al. 2015, section 2.1 (matching logits), on unlabelled images",
)
def align(
    context: RecoveryContext,
    *,
    images: int = 4096,
    steps: int = 300,
    batch: int = 128,
    learning_rate: float = 0.001,
    augmentation: str = "none",
) -> None:
    """Move the survivors of all layers by `steps` of Adam so that the outputs are the dense network's.

    On training images without labels. The loss is the squared distance of outputs over their variance; the
    learning rate falls to 0 along a cosine. augmentation: "none", "flip" or "crop_flip".
    """
    from prunery.train.alignment import align_

    align_(
        context,
        images=images,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        augmentation=augmentation,
    )


@recovery.add(
    trains=False,
    needs="dense labels",
    above={"learning_rate": 0.0, "labels": 0.0},
    source="Hinton et al. 2015, section 2: the dense network's outputs and the labels together",
)
def align_labelled(
    context: RecoveryContext,
    *,
    images: int = 4096,
    steps: int = 300,
    batch: int = 128,
    learning_rate: float = 0.001,
    augmentation: str = "none",
    labels: float = 1.0,
) -> None:
    """Do as `align`, with `labels` times the cross entropy with the images' labels added to the loss."""
    from prunery.train.alignment import align_

    assert context.splits is context.data
    align_(
        context,
        images=images,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        augmentation=augmentation,
        labels=labels,
    )


@recovery.add(
    trains=False,
    needs="dense inputs",
    above={"learning_rate": 0.0},
    source="Li et al. 2021 (BRECQ), section 3.2: blocks as the units of reconstruction",
)
def distill_blocks(
    context: RecoveryContext,
    *,
    images: int = 1024,
    steps: int = 200,
    batch: int = 64,
    learning_rate: float = 0.001,
) -> None:
    """Move each block in turn by `steps` of Adam so that its outputs are those of the dense block.

    A block is the smallest module around several layers. It is called with what the blocks before it, pruned
    and moved, give; its targets are the dense network's. On training images without labels; what enters and
    leaves one block is held for all of them.
    """
    from prunery.train.alignment import distill_

    distill_(context, images=images, steps=steps, batch=batch, learning_rate=learning_rate)
