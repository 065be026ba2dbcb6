"""Actions of a user's own, good and bad, for specs that name them as `own_actions:...`; see `own_rows`."""

import torch

from prunery.train.recovery import recovery

SEEN = []  # what the actions of this process were given


@recovery.add(trains=False, needs="dense init inputs labels", source="a test")
def look(context, *, layer="fc2"):
    """Keep what is at hand; change nothing."""
    inputs = list(context.layer_inputs([layer, f"{layer}.weight"], images=300, batch=128))
    SEEN.append({"context": context, "inputs": inputs, "dense": context.dense, "splits": context.splits})
    context.note(f"{len(inputs)} batches of inputs")


@recovery.add(trains=True, needs="labels", source="a test")
def twice(context, *, first=1, training=None):
    """Train for `first` epochs, then for what is left."""
    context.train({"epochs": first})
    context.train({"epochs": context.training.epochs - first})


@recovery.add(trains=False, needs="", source="a test")
def secretive(context):
    """Read the labels without saying so."""
    assert context.splits


@recovery.add(trains=False, needs="labels", source="a test")
def trains_in_secret(context):
    """Train without saying so."""
    context.train({"epochs": 1})


@recovery.add(trains=True, needs="labels", source="a test")
def lazy(context):
    """Do not train."""


@recovery.add(trains=False, needs="", source="a test")
def grows(context):
    """Write over removed weights."""
    with torch.no_grad():
        context.model.fc1.weight += 1


@recovery.add(trains=False, needs="", source="a test")
def unmasks(context):
    """Change a mask."""
    context.masks["fc1.weight"][:] = True


@recovery.add(trains=False, needs="", source="a test")
def draws(context):
    """Shift the last bias by a random number."""
    from prunery.seeds import stream

    with torch.no_grad():
        context.model.fc3.bias += torch.rand(1, generator=stream(context.seed, "draws"))


@recovery.add(trains=True, needs="labels", source="a test")
def loop(context, *, training=None):
    """Train with a loop of its own that makes no step, and count it."""
    settings = context.training
    context.count(epochs=settings.epochs, samples=settings.epochs * len(context.splits.train))


@recovery.add(trains=False, needs="labels planets", source="a test")
def wishful(context):
    """Need what there is not."""
