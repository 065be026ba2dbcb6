"""What a training phase leaves behind besides the weights: one row per epoch. Importable without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunery.core.masks import Masks


@dataclass(frozen=True)
class EpochRow:
    """One epoch: mean losses in nats per example, correct answers as counts."""

    epoch: int
    """Epochs done, from 1."""
    train_loss: float
    """Mean over the epoch's training batches as they were trained on (label smoothing included)."""
    train_correct: int
    train_total: int
    validation_loss: float | None
    """Plain cross-entropy after the epoch; None if the validation split is empty."""
    validation_correct: int
    validation_total: int
    learning_rate: float
    """Of the epoch's last step."""
    samples: int
    """Training examples seen since the phase began, this epoch included."""
    test_correct: int | None = None
    """Right answers on the test split, a diagnostic that nothing is chosen by; None if it was not read."""
    test_total: int | None = None
    removed: int | None = None
    """Weights that the masks remove after the epoch; None where nothing changes the masks meanwhile."""

    def reaches(self, accuracy: float) -> bool:
        """Return whether the validation accuracy is at least so many percent; False for an empty split."""
        return self.validation_total > 0 and 100 * self.validation_correct >= accuracy * self.validation_total

    def plain(self) -> dict[str, Any]:
        """The row as a record keeps it: without what only some trainings have where there is none."""
        some = ("test_correct", "test_total", "removed")
        return {k: v for k, v in asdict(self).items() if v is not None or k not in some}


@dataclass(frozen=True)
class History:
    """All epochs of one training phase, and which one's weights the model has now."""

    rows: tuple[EpochRow, ...]
    chosen: int
    """The epoch (from 1) whose weights were kept; 0 if nothing was trained."""
    diverged_at: int | None = None
    """The step (from 0, over all epochs) of the first loss that is not finite; training stopped after it."""
    seconds: float = field(default=0.0, compare=False)
    """Spent in training steps and on the validation split, by every process that worked on the phase; what
    reads test, builds the model or saves its state is not in it."""
    masks: Masks | None = field(default=None, compare=False)
    """Of the chosen epoch; None for a training without masks."""
    unfinished: str | None = None
    """Why mask updates that were due after a divergence could not be carried out, or None."""

    @property
    def test_max(self) -> tuple[int, int] | None:
        """The most right answers on test, and of how many; None if test was not read.

        Of the epochs after which the masks removed as many weights as at the end: of all, unless updates
        changed them.
        """
        rows = [r for r in self.rows if r.removed == self.rows[-1].removed]
        read = [(r.test_correct, r.test_total) for r in rows if r.test_correct is not None]
        return max(((c, t or 0) for c, t in read), default=None)

    @property
    def samples(self) -> int:
        """Training examples seen in all epochs together."""
        return self.rows[-1].samples if self.rows else 0

    @property
    def note(self) -> str | None:
        """A sentence about the divergence, and about masks that were left as they were by it; or None."""
        if self.diverged_at is None:
            return None
        where = f"in epoch {len(self.rows)}, at step {self.diverged_at} of all"
        masks = f"; {self.unfinished}" if self.unfinished else ""
        return f"diverged: the training loss was not finite {where}{masks}"
