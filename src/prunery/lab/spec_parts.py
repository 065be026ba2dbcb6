"""The parts of a spec: a task (what is trained on what) and methods (five choices each). No torch.

Every field is checked when it is set; what is wrong raises a PruneryError with the nearest known name. A
choice keeps only the options that differ from their defaults: two spellings of one method are equal.
"""

from __future__ import annotations

from collections import Counter
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
    model_validator,
)

from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import Cut, cuts_of, is_update, of_rounds, schedule
from prunery.core.scope import scope
from prunery.core.sparsity import parse
from prunery.data import names as data_names
from prunery.errors import SpecError
from prunery.lab import actions, limits
from prunery.lab.actions import Action, plain
from prunery.lab.pretrained import Weights, weights_of
from prunery.models import names as model_names
from prunery.registry import BoundEntry, Choice, Registry, is_dotted
from prunery.train.settings import Training


def _row_of(table: Registry) -> Callable[[Any], Choice]:
    def check(value: Any) -> Choice:
        bound = table.bind(value)
        return Choice(bound.name, bound.given)

    return check


def _schedule(value: Any) -> Choice:
    """Return the schedule that `value` spells; one inside a training may hold settings of that training."""
    choice = Choice.parse(value)
    row = schedule[choice.name]
    options = dict(choice.options)
    inside = row.facts.get("during", False) and "training" not in row.options
    settings = options.pop("training", None) if inside else None
    bound = schedule.bind(Choice(choice.name, options))
    if settings is None:
        return Choice(bound.name, bound.given)
    return Choice(
        bound.name, {**bound.given, "training": actions.settings(settings, f"schedule {bound.name!r}")}
    )


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
    """Return the values, none of which may stand twice and of which there must be one."""
    if not values:
        raise SpecError("this list", "it is empty", "give at least one entry, or leave the key out")
    limits.check_entries("this list", len(values))
    twice = sorted(v for v, times in Counter(values).items() if times > 1)
    if twice:
        raise SpecError("this list", f"{', '.join(map(str, twice))} stands in it twice", "give each once")
    return values


_SPELT = PlainSerializer(plain)
Criterion = Annotated[Choice, PlainValidator(_row_of(criterion)), _SPELT]
Granularity = Annotated[Choice, PlainValidator(_row_of(granularity)), _SPELT]
Scope = Annotated[Choice, PlainValidator(_row_of(scope)), _SPELT]
Schedule = Annotated[Choice, PlainValidator(_schedule), _SPELT]
Recovery = Annotated[tuple[Choice, ...], PlainValidator(actions.checked), PlainSerializer(actions.spelt)]
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
    weights: Annotated[Weights | None, BeforeValidator(weights_of)] = None
    """A file of weights that the dense training starts from; its content enters keys, its path does not."""


Place = Literal["init", "trained"]


def _usual_schedule(data: dict[str, Any]) -> Choice | None:
    """None for the criterion's own; that of a user's row stands in the spec, to be read without the row."""
    name = data["criterion"].name
    return _own_schedule(name) if is_dotted(name) else None


def _own_schedule(criterion_name: str) -> Choice:
    return of_rounds(criterion[criterion_name].facts.get("rounds", 1))


def _during(data: Mapping[str, Any]) -> bool:
    """Return whether the method's cuts lie inside a training."""
    choice = data["schedule"]
    return choice is not None and bool(schedule[choice.name].facts.get("during", False))


def _usual_place(data: dict[str, Any]) -> Place:
    facts = (schedule[data["schedule"].name] if _during(data) else criterion[data["criterion"].name]).facts
    place: Place = facts.get("at", "init" if _during(data) else "trained")
    return place


def _usual_scope(data: dict[str, Any]) -> Choice:
    return _row_of(scope)(granularity[data["granularity"].name].facts.get("scope", "global"))


def _usual_exclude(data: dict[str, Any]) -> tuple[str, ...]:
    return tuple(granularity[data["granularity"].name].facts.get("exclude", ()))


def _some(patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return patterns or None


def _usual_recovery(data: dict[str, Any]) -> tuple[Choice, ...]:
    return (actions.NONE,) if _during(data) else (Choice("finetune"),)


def _derived_name(data: dict[str, Any]) -> str:
    """Return the choices that are not the usual ones, as words."""
    words = [_word(data["criterion"])]
    usual = {
        "granularity": Choice("weight"),
        "scope": _usual_scope(data),
        "schedule": _usual_schedule(data),
    }
    words += [_word(data[axis]) for axis, choice in usual.items() if data[axis] not in (choice, None)]
    if data["recovery"] != _usual_recovery(data):
        words.append("+".join(map(_word, data["recovery"])))
    if data["at"] != _usual_place(data):
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
    scope: Scope = Field(default_factory=_usual_scope)
    """Who competes with whom? By default all weights of the network; of filters, those of each layer."""
    schedule: Schedule | None = Field(default_factory=_usual_schedule)
    """When, and how far, is each cut? By default as the criterion's paper does it."""
    recovery: Recovery = Field(default_factory=_usual_recovery)
    """What happens to the survivors after a cut? One action, or a list of them that are done in order. By
    default finetune; none for a schedule whose cuts lie inside a training."""
    at: Place = Field(default_factory=_usual_place)
    """Which network is pruned: the untrained or the trained one. By default as in the criterion's paper, or
    as in that of a schedule whose cuts lie inside a training."""
    exclude: tuple[str, ...] = Field(default_factory=_usual_exclude)
    """Patterns of parameters or modules that are not pruned; `@output` is the output layer. By default none;
    of filters, the output layer."""
    include: Annotated[tuple[str, ...] | None, AfterValidator(_some)] = None
    """Patterns of parameters that are pruned beside the usual ones (experts stacked in one parameter)."""
    floor: float = Field(default=0.0, ge=0, lt=1)
    """The smallest density that any layer keeps."""
    sparsities: Sparsities | None = None
    """Sparsities of this method alone, instead of the study's."""
    name: str = Field(default_factory=_derived_name, min_length=1, max_length=80)
    """What tables and plots call it; by default made from the choices, in a study as short as can be."""

    @model_validator(mode="before")
    @classmethod
    def _without_none(cls, data: Any) -> Any:
        """A key whose default depends on the others is left out where it is null."""
        if not isinstance(data, Mapping):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in ("schedule", "scope", "exclude")}

    def bound_schedule(self) -> BoundEntry:
        """Return the schedule with its options; the criterion's own number of rounds if none was given."""
        if self.schedule is None:
            return schedule.bind(_own_schedule(self.criterion.name))
        options = {k: v for k, v in self.schedule.options.items() if k != "training" or not self.in_training}
        return schedule.bind(Choice(self.schedule.name, options))

    @property
    def asked_schedule(self) -> Choice | None:
        """Return the schedule; None where it is the criterion's own."""
        usual = is_dotted(self.criterion.name) and self.schedule == _own_schedule(self.criterion.name)
        return None if usual else self.schedule

    @property
    def in_training(self) -> bool:
        """Return whether the cuts lie inside a training."""
        return _during({"schedule": self.schedule})

    @property
    def training_settings(self) -> Mapping[str, Any]:
        """Return the settings in which the training that its cuts lie in differs from the study's."""
        return self.schedule.options.get("training", {}) if self.schedule and self.in_training else {}

    def cuts(self, sparsity: float) -> list[Cut] | None:
        """Return the cuts on the way to `sparsity`; None where the schedule is a mask update."""
        result = self.bound_schedule()(sparsity)
        return None if is_update(result) else cuts_of(result)

    def levels(self, sparsity: float) -> list[float]:
        """Return the cumulative sparsities of the cuts on the way to `sparsity`; the last one is it."""
        cuts = self.cuts(sparsity)
        return [sparsity] if cuts is None else [*(cut.sparsity for cut in cuts[:-1]), sparsity]

    def actions(self) -> tuple[Action, ...]:
        """Return what happens to the survivors, action by action; empty for none."""
        return tuple(actions.action_of(choice) for choice in self.recovery if choice != actions.NONE)
