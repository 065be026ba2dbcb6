"""A step with what it needs within reach: its data, its parents' networks, its folder.

A step's folder holds `weights.safetensors` (init, train, recover) and `masks.safetensors` (prune, recover);
a pruned network is its parent's weights under the masks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from prunery.core.granularity import granularity as granularities
from prunery.core.masks import Masks
from prunery.data.batches import Batches
from prunery.data.images import ImageSet
from prunery.data.sets import load
from prunery.data.splits import Splits, split
from prunery.data.subset import fewer, of_classes
from prunery.data.superclasses import superclasses
from prunery.lab.plan import Step
from prunery.lab.store import Store
from prunery.measure.cost import Cost, cost
from prunery.models.build import build
from prunery.registry import Choice

WEIGHTS, MASKS, CHECKPOINT = "weights.safetensors", "masks.safetensors", "training.pt"


@dataclass(frozen=True)
class StepContext:
    """A step with what it needs within reach."""

    step: Step
    store: Store
    scratch: Path
    report_progress: Callable[[float], None]

    @property
    def args(self) -> Mapping[str, Any]:
        """Return the step's arguments."""
        return self.step.args

    @property
    def seed(self) -> int:
        """Return the step's seed."""
        return int(self.args["seed"])

    @property
    def device(self) -> torch.device:
        """Where the step computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def images(self) -> ImageSet:
        """Return the data set, decoded once per process."""
        return images(self.args["data"])

    @property
    def classes(self) -> int:
        """Return the classes that the step's networks tell apart."""
        return int(self.args.get("classes") or self.images.classes)

    @property
    def superclasses(self) -> tuple[int, ...] | None:
        """Return the superclass of each class, where the data set has any."""
        return superclasses(chosen(self.args["data"], self.args.get("classes"), self.seed).class_names)

    @property
    def splits(self) -> Splits:
        """Return the splits of the step's seed."""
        fewer_of = [self.args.get(name) for name in ("classes", "images")]
        return splits(self.args["data"], self.args["validation"], self.seed, *fewer_of)

    def example(self) -> torch.Tensor:
        """Return one normalised image, (1, C, H, W), on the device."""
        first, _ = next(iter(Batches(self.splits.train, batch=1, seed=0)))
        return first.to(self.device)

    def built(self, seed: int) -> nn.Module:
        """Return the model with fresh weights."""
        shape, classes = self.images.shape, self.classes
        return build(self.args["model"], shape=shape, classes=classes, seed=seed, device=self.device)

    def parent(self) -> tuple[nn.Module, Masks | None]:
        """Return the model of the first parent, pruned as it is, with its masks if it is."""
        return self.model_of(self.step.parents[0])

    def model_of(self, key: str) -> tuple[nn.Module, Masks | None]:
        """Return the model of a finished step and its masks, None if it was never pruned."""
        record = self.store.record(key)
        masks = self.masks_of(key) if MASKS in record.files else None
        if WEIGHTS in record.files:
            model = self.built(self.seed)
            load_model(model, self.store.file(key, WEIGHTS), device=str(self.device))
        else:
            model, _ = self.model_of(record.parents[0])
        if masks is not None:
            masks.apply_(model)
        return model, masks

    def removes(self, key: str | None = None) -> bool:
        """Return whether a cut on the way to a step, the parent, removed units that can be cut out."""
        key = self.step.parents[0] if key is None else key
        while True:
            record = self.store.record(key)
            if record.kind == "prune":
                chosen = Choice.parse(record.args.get("granularity", "weight"))
                if granularities[chosen.name].facts.get("removable"):
                    return True
            if not record.parents:
                return False
            key = record.parents[0]

    def masks_of(self, key: str) -> Masks:
        """Return the masks of a finished cut."""
        return Masks.load(self.store.file(key, MASKS)).to(self.device)

    def save(self, model: nn.Module | None, masks: Masks | None) -> None:
        """Write the weights and the masks that there are into the step's folder; equal ones, equal bytes."""
        if model is not None:
            save_model(model, str(self.scratch / WEIGHTS))
        if masks is not None:
            masks.save(self.scratch / MASKS)
        for path in self.scratch.glob("*.safetensors"):
            settle_header(path)

    @property
    def include(self) -> tuple[str, ...]:
        """Return the patterns of parameters that are prunable beside the usual ones."""
        return tuple(self.args.get("include", ()))

    def cost(self, model: nn.Module, masks: Masks | None = None) -> Cost:
        """Return what the model costs for one example."""
        return cost(model, self.example(), masks, include=self.include)


def settle_header(path: Path) -> None:
    """Rewrite a safetensors file with its header sorted: the library orders metadata by a random hash."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of 8
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])


@lru_cache(maxsize=1)
def images(name: str) -> ImageSet:
    """Return the data set of that name, opened once per process."""
    return load(name)


@lru_cache(maxsize=2)
def chosen(name: str, classes: int | None, seed: int) -> ImageSet:
    """Return the set with so many of its classes, all of them for None."""
    image_set = images(name)
    return image_set if classes is None else of_classes(image_set, classes, seed)


@lru_cache(maxsize=2)
def splits(
    name: str, validation: float | int, seed: int, classes: int | None = None, count: int | None = None
) -> Splits:
    """Return its splits, with so many classes and training images; those of the last two seeds are kept."""
    parts = split(chosen(name, classes, seed), validation=validation, seed=seed)
    return parts if count is None else fewer(parts, count, seed)
