"""The parts of a spec: a task (what is trained on what) and methods (five choices each). No torch.

Every field is checked when it is set; what is wrong raises a PruneryError with the nearest known name. A
choice keeps only the options that differ from their defaults: two spellings of one method are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
)

from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import of_rounds, schedule
from prunery.core.scope import scope
from prunery.core.sparsity import parse
from prunery.data import names as data_names
from prunery.errors import SpecError
from prunery.models import names as model_names
from prunery.registry import BoundEntry, Choice, Registry
from prunery.train.recovery import Recovery, recovery
from prunery.train.settings import Training, current_names, merged, stored_names


def plain(choice: Choice) -> str | dict[str, Any]:
    """The choice as a spec spells it: its name, or a mapping with its options."""
    return {"name": choice.name, **choice.options} if choice.options else choice.name


def _row_of(table: Registry) -> Callable[[Any], Choice]:
    def check(value: Any) -> Choice:
        bound = table.bind(value)
        return Choice(bound.name, bound.given)

    return check


_ANY = Training(epochs=1, optimizer="sgd", learning_rate=0.1)


def _recovery(value: Any) -> Choice:
    bound = recovery.bind(value)
    settings = bound().training  # a row refuses options that it cannot do
    if not isinstance(settings, Mapping):
        found = f"it is {settings!r}, not a mapping"
        raise SpecError(f"'training' of recovery {bound.name!r}", found, "write training: {epochs: 5}")
    merged(_ANY, {n: None for n in current_names(settings) if n not in Training.model_fields})
    given = bound.given
    return Choice(bound.name, given | ({"training": stored_names(settings)} if "training" in given else {}))


def _named(check: Callable[[str], Any]) -> Callable[[str], str]:
    def same(name: str) -> str:
        check(name)
        return name

    return same


def _validation(value: float | int) -> float | int:
    if type(value) is int and value >= 0:
        return value
    if type(value) is float and 0 <= value < 1:
        return value
    raise SpecError(
        f"a validation part of {value!r}",
        "it is neither between 0 and 1 nor a number of examples",
        "give a part such as 0.1, or how many examples such as 5000",
    )


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, none of which may stand twice and of which there must be one."""
    if not values:
        raise SpecError("this list", "it is empty", "give at least one entry, or leave the key out")
    twice = sorted({v for v in values if values.count(v) > 1})
    if twice:
        raise SpecError("this list", f"{', '.join(map(str, twice))} stands in it twice", "give each once")
    return values


_SPELT = PlainSerializer(plain)
Criterion = Annotated[Choice, PlainValidator(_row_of(criterion)), _SPELT]
Granularity = Annotated[Choice, PlainValidator(_row_of(granularity)), _SPELT]
Scope = Annotated[Choice, PlainValidator(_row_of(scope)), _SPELT]
Schedule = Annotated[Choice, PlainValidator(_row_of(schedule)), _SPELT]
RecoveryChoice = Annotated[Choice, PlainValidator(_recovery), _SPELT]
Sparsity = Annotated[float, BeforeValidator(parse)]
Sparsities = Annotated[tuple[Sparsity, ...], AfterValidator(distinct)]


class Task(BaseModel):
    """What is trained, on what, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Annotated[str, AfterValidator(_named(model_names.check))]
    """A model's name, or `package.module:factory` for your own."""
    data: Annotated[str, AfterValidator(_named(data_names.check))]
    """A data set's name, or `package.module:factory` for your own."""
    training: Training
    """How the dense network is trained; recoveries train the same way but for what they say."""
    validation: Annotated[Any, PlainValidator(_validation)] = 0.1
    """The part of the training images (0..1), or their number, set aside to choose epochs on."""
    images: Annotated[int | None, Field(ge=2, strict=True)] = None
    """How many of the remaining training images are used, drawn from the seed; all of them by default."""
    classes: Annotated[int | None, Field(ge=2, strict=True)] = None
    """How many of the data set's classes are used, drawn from the seed; all of them by default."""


Place = Literal["init", "trained"]


def _paper_place(data: dict[str, Any]) -> Place:
    place: Place = criterion[data["criterion"].name].facts["at"]
    return place


_USUAL = (Choice("weight"), Choice("global"), Choice("finetune"), None)  # not worth a word


def _derived_name(data: dict[str, Any]) -> str:
    choices = [data[axis] for axis in ("criterion", "granularity", "scope", "schedule", "recovery")]
    words = [_word(choice) for choice in choices if choice not in _USUAL]
    if data["at"] != _paper_place(data):
        words.append(f"at {data['at']}")
    if data["floor"]:
        words.append(f"floor {data['floor']:g}")
    return " ".join(words)


def _word(choice: Choice) -> str:
    """`iterative(fraction=0.2)`; the settings of a training stand as if they were options themselves."""
    options: dict[str, Any] = {}
    for name, value in choice.options.items():
        options |= value if isinstance(value, Mapping) else {name: value}
    words = [f"{name}={_value_word(value)}" for name, value in options.items()]
    return f"{choice.name}({', '.join(words)})" if words else choice.name


def _value_word(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    return "/".join(map(str, value if len(value) <= 3 else [value[0], "…", value[-1]]))


class Method(BaseModel):
    """One way of pruning: criterion, granularity, scope, schedule, recovery, and where it prunes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    criterion: Criterion
    """How much does one weight matter?"""
    granularity: Granularity = Choice("weight")
    """Which weights live or die together?"""
    scope: Scope = Choice("global")
    """Who competes with whom?"""
    schedule: Schedule | None = None
    """When, and how far, is each cut? By default as the criterion's paper does it."""
    recovery: RecoveryChoice = Choice("finetune")
    """What happens to the survivors after a cut?"""
    at: Place = Field(default_factory=_paper_place)
    """Which network is pruned: the untrained or the trained one. By default as in the criterion's paper."""
    exclude: tuple[str, ...] = ()
    """Patterns of parameters or modules that are not pruned; `@output` is the last prunable layer."""
    floor: float = Field(default=0.0, ge=0, lt=1)
    """The smallest density that any layer keeps."""
    sparsities: Sparsities | None = None
    """Sparsities of this method alone, instead of the study's."""
    name: str = Field(default_factory=_derived_name, min_length=1, max_length=80)
    """What tables and plots call it; by default made from the choices."""

    def bound_schedule(self) -> BoundEntry:
        """The schedule with its options; the criterion's own number of rounds if none was given."""
        if self.schedule is not None:
            return schedule.bind(self.schedule)
        return schedule.bind(of_rounds(criterion[self.criterion.name].facts.get("rounds", 1)))

    def levels(self, sparsity: float) -> list[float]:
        """The cumulative sparsities of the cuts on the way to `sparsity`; the last one is it exactly."""
        return list(self.bound_schedule()(sparsity))

    def after_cut(self) -> Recovery:
        """What happens to the survivors."""
        found: Recovery = recovery.bind(self.recovery)()
        return found
