"""The state of a training phase on disk: enough to go on with the same bits, in plain data and tensors.

No random state is stored: everything random in `fit` is a function of the seed, the epoch and the step.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunery import atomic
from prunery.core.bits import packed, unpacked
from prunery.core.masks import Masks
from prunery.train.epoch_totals import Tally
from prunery.train.history import EpochRow, History
from prunery.train.settings import Training

_LOG = logging.getLogger(__name__)
_FORMAT = 3  # to be raised when the fields of TrainState or their meaning change
_DIGEST = hashlib.sha256().digest_size
_MASKS = ("masks", "best_masks")


@dataclass
class TrainState:
    """Where a training phase stands, between two steps."""

    identity: str
    """Of the phase it belongs to: settings, seed, sizes, masks at its start, mask updates. Another phase does
    not resume from it."""
    epoch: int = 0
    """Epochs done; `tally.totals.steps` are done of the next one."""
    tally: Tally = field(default_factory=Tally)
    rows: list[EpochRow] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    masks: Masks | None = None
    """In force; None while they are those that the phase began with."""
    best_masks: Masks | None = None
    """Those of the best epoch; None for those that the phase began with."""
    diverged_at: int | None = None
    unfinished: str | None = None
    seconds: float = 0.0
    """Spent in training steps and on the validation split, by all processes that worked on the phase."""
    weights: dict[str, Any] = field(default_factory=dict)
    """The model's state, filled in when saving."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    """The optimiser's state, filled in when saving."""

    def history(self) -> History:
        """The rows so far; the chosen epoch is the best one if any was kept, else the last."""
        chosen = self.best_epoch or len(self.rows)
        return History(tuple(self.rows), chosen, self.diverged_at, self.seconds, unfinished=self.unfinished)

    def save(self, path: Path) -> None:
        """Write to `path` in one piece: whoever reads it finds the old state or the new one, never a part."""
        plain = dict(vars(self))
        plain["tally"] = self.tally.settle().plain()
        plain["rows"] = [asdict(row) for row in self.rows]
        plain |= {name: _plain_masks(getattr(self, name)) for name in _MASKS}
        buffer = io.BytesIO()
        torch.save(plain, buffer)
        payload = buffer.getvalue()
        # torch reads altered tensors without noticing, hence the digest; it also catches a file that a
        # power cut left empty, so there is no sync: the worst that can happen is to train again
        atomic.atomic_write(path, hashlib.sha256(payload).digest() + payload)

    @staticmethod
    def load(path: Path, *, identity: str) -> TrainState | None:
        """The state in `path`; None if there is none, and (with a logged warning) if it cannot be used."""
        try:
            return _read(path, identity)
        except FileNotFoundError:
            return None
        except Exception as problem:  # whatever is wrong with it, training again is right
            _LOG.warning("checkpoint %s is ignored: %s; training starts over", path, problem)
            return None


class Checkpoint:
    """When to save, by the clock: saving never changes a result, so it need not happen at fixed steps."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._last = time.monotonic()

    def due(self, seconds: float) -> bool:
        """Whether there is a path to save to and the last save is this long ago."""
        return self.path is not None and time.monotonic() - self._last >= seconds

    def save(self, state: TrainState, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save the state with the model's and the optimiser's as they are now."""
        if self.path is not None:
            state.weights, state.optimizer = model.state_dict(), optimizer.state_dict()
            state.save(self.path)
            state.weights, state.optimizer = {}, {}
            self._last = time.monotonic()

    def resume(self, identity: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> TrainState:
        """The saved state of the same training, now in the model and the optimiser; or a fresh one."""
        state = TrainState.load(self.path, identity=identity) if self.path is not None else None
        if state is None:
            return TrainState(identity)
        model.load_state_dict(state.weights)
        optimizer.load_state_dict(state.optimizer)
        state.weights, state.optimizer = {}, {}
        return state


def _read(path: Path, identity: str) -> TrainState:
    data = path.read_bytes()
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        raise ValueError("it is damaged")
    plain = torch.load(io.BytesIO(data[_DIGEST:]), weights_only=True, map_location="cpu")
    if plain["identity"] != identity:
        raise ValueError("it belongs to another training")
    rows = [EpochRow(**row) for row in plain["rows"]]
    masks = {name: _masks_of(plain[name]) for name in _MASKS}
    return TrainState(**{**plain, **masks, "tally": Tally(**plain["tally"]), "rows": rows})


def _plain_masks(masks: Masks | None) -> dict[str, Any] | None:
    """The masks as plain data, one bit a weight."""
    if masks is None:
        return None
    bits = {name: (list(mask.shape), packed(mask)) for name, mask in masks.items()}
    return {"bits": bits, "uncounted": sorted(masks.uncounted), "units": masks.units}


def _masks_of(plain: dict[str, Any] | None) -> Masks | None:
    if plain is None:
        return None
    masks = {name: unpacked(bits, shape) for name, (shape, bits) in plain["bits"].items()}
    return Masks(masks, uncounted=plain["uncounted"], units=plain["units"])


def identity(
    model: torch.nn.Module,
    training: Training,
    *,
    seed: int,
    sizes: Sequence[int],
    masks: Mapping[str, Tensor] | None,
    updates: Sequence[str] = (),
) -> str:
    """What must be equal for a checkpoint to be resumed; the weights it started from are not known to it.

    masks: those at the start. updates: the description of each mask update.
    """
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    settings = training.stored()
    return json.dumps([_FORMAT, settings, seed, list(sizes), _digest(masks), shapes, list(updates)])


def _digest(masks: Mapping[str, Tensor] | None) -> str | None:
    if masks is None:
        return None
    digest = hashlib.sha256()
    for name, mask in masks.items():
        digest.update(name.encode() + mask.cpu().numpy().tobytes())
    return digest.hexdigest()
