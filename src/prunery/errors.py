"""Every error and warning of the library.

    PruneryError                    anything below; the command line prints its message, exit status 2
    ├── ChoiceError (ValueError)    an unknown name or option of a criterion, scope, model, data set, ...
    ├── SparsityError (ValueError)  a sparsity in no accepted form, or one that cannot be reached
    ├── PatternError (ValueError)   a layer pattern that matches nothing, or leaves nothing
    ├── EvidenceError (ValueError)  a criterion lacks what it needs (batches, example), or read too much
    ├── ScoreError (ValueError)     a score is NaN
    ├── ModelError (ValueError)     a model that cannot be built, or whose layers cannot be pruned
    ├── MasksError (ValueError)     masks that do not fit the model, or a file that holds none
    ├── DataError (ValueError)      a data set that is missing, truncated, altered or of the wrong shape
    ├── CompactError (RuntimeError) a smaller model that would not compute the same, or cannot be made
    ├── ExportError (RuntimeError)  a file in another format that would compute something else, or cannot be
    ├── ContainerError (ValueError) a file that holds no model, or one that does not fit
    ├── SpecError (ValueError)      anything wrong in a study's spec
    └── StoreError (RuntimeError)   a store that is not one, or a record that was altered

    PruneryWarning (UserWarning)
    ├── CoverageWarning             parameters that may be weights are out of reach
    ├── EmptyLayerWarning           a cut left a layer without a single weight
    ├── NormWarning                 a norm makes something of a removed filter
    ├── OutputWarning               the layer registered last is taken for the output layer
    ├── RevivedWeightsWarning       under `enforce`, something other than a step wrote removed weights
    ├── SilentCriterionWarning      a criterion says nothing of a layer, or of a block of it
    └── ZerosKeptWarning            masks keep weights that are 0 already

Each message says what was asked, what was found and what to do.
"""

from __future__ import annotations

INTERRUPTED = 130
"""The exit status of a command after Ctrl-C."""


class PruneryError(Exception):
    """An error with three parts: what was asked, what was found, what to do."""

    def __init__(self, asked: str, found: str, do: str) -> None:
        super().__init__(asked, found, do)
        self.asked, self.found, self.do = asked, found, do

    def __str__(self) -> str:
        return f"{self.asked}: {self.found}. {self.do[:1].upper()}{self.do[1:]}."


class ChoiceError(PruneryError, ValueError):
    """An unknown name or option."""


class SparsityError(PruneryError, ValueError):
    """A sparsity in no accepted form, or one that cannot be reached."""


class PatternError(PruneryError, ValueError):
    """A layer pattern that matches nothing, or leaves nothing."""


class EvidenceError(PruneryError, ValueError):
    """A criterion lacks what it needs, or reads what it did not declare."""


class ScoreError(PruneryError, ValueError):
    """A score is NaN."""


class ModelError(PruneryError, ValueError):
    """A model that cannot be built, or whose layers cannot be pruned."""


class MasksError(PruneryError, ValueError):
    """Masks that do not fit the model, or a file that holds none."""


class DataError(PruneryError, ValueError):
    """A data set that is missing, truncated, altered or of the wrong shape."""


class CompactError(PruneryError, RuntimeError):
    """A smaller model that would not compute the same, or cannot be made."""


class ExportError(PruneryError, RuntimeError):
    """A model in another format that would not compute the same, or cannot be made."""


class ContainerError(PruneryError, ValueError):
    """A file that holds no model, or one that does not fit the model it is loaded into."""


class SpecError(PruneryError, ValueError):
    """Anything wrong in a study's spec."""


class StoreError(PruneryError, RuntimeError):
    """A store that is not one, or a record that was altered."""


class PruneryWarning(UserWarning):
    """A warning of the library: the result stands, and says something unusual."""


class CoverageWarning(PruneryWarning):
    """Parameters that may be weights are out of reach."""


class NormWarning(PruneryWarning):
    """A norm makes something of a removed filter."""


class OutputWarning(PruneryWarning):
    """The layer registered last is taken for the output layer, for nothing tells which one it is."""


class EmptyLayerWarning(PruneryWarning):
    """A cut left a layer without a single weight."""


class SilentCriterionWarning(PruneryWarning):
    """A criterion says nothing of a layer, or of a block of it."""


class ZerosKeptWarning(PruneryWarning):
    """Masks keep weights that are 0 already: the network is sparser than the masks say."""


class RevivedWeightsWarning(PruneryWarning):
    """Within `Masks.enforce` something other than a step wrote removed weights; they are 0 again."""
