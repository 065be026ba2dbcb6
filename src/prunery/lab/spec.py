"""A study as frozen plain data: a task, methods, sparsities, seeds. No torch, no disk beyond the spec's file.

`load` reads one from a YAML file, a named study or a Python function; whatever is wrong in it is said at
once, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from prunery.core.sparsity import parse
from prunery.errors import SparsityError, SpecError
from prunery.filenames import FILE_NAME, LONGEST
from prunery.lab import actions, limits
from prunery.lab import spec_source as sources
from prunery.lab.limits import MOST_ENTRIES, shown
from prunery.lab.method_names import shortest
from prunery.lab.spec_checks import of_methods, of_size, of_task
from prunery.lab.spec_errors import Problem, of_validation, spec_error
from prunery.lab.spec_parts import Method, Sparsities, Task, distinct
from prunery.registry import Choice
from prunery.train.settings import Training, merged


def _seeds(value: Any) -> tuple[int, ...]:
    if type(value) is int and value > MOST_ENTRIES:
        found = f"it is a number of repetitions, and {MOST_ENTRIES} is the most"
        do = f"write [{value}] if the seed {value} was meant, or a smaller number"
        raise SpecError(f"seeds {shown(value)}", found, do)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return tuple(range(value))
    if isinstance(value, list | tuple) and all(type(seed) is int and seed >= 0 for seed in value):
        return distinct(tuple(value))
    raise SpecError(
        f"seeds {shown(value)}",
        "they are neither a number of seeds nor a list of whole numbers",
        "write 3 for the seeds 0, 1, 2, or a list such as [0, 1, 2]",
    )


def _listed(value: Any) -> Any:
    listed = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return tuple(dict.fromkeys(value)) if listed else value


def _version(value: Any) -> int:
    if type(value) is not int or value != 1:
        raise SpecError(
            f"a spec of version {shown(value)}", "this prunery reads version 1", "write version: 1"
        )
    return value


class Spec(BaseModel):
    """A study: which methods, at which sparsities, on which task, with which seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Annotated[Literal[1], BeforeValidator(_version)] = 1
    """The version of this format."""
    name: str = Field(pattern=FILE_NAME, max_length=LONGEST)
    """The study's name in the store and in reports; by default the file's."""
    question: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """What the study asks, in a sentence: the title of its report. By default made from its grid."""
    task: Task
    """What is trained, on what, and how."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    """The ways of pruning that are compared."""
    sparsities: Sparsities
    """How much is removed: 0.9, '90%', '10x', 'density=0.1' or 'compression=1'."""
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds)]
    """How many repetitions (seeds 0, 1, ...), or their seeds."""
    before_recovery: bool = False
    """Whether each pruned network is measured after its last cut too, before anything is retrained."""
    controls: Annotated[tuple[Literal["random", "magnitude"], ...], BeforeValidator(_listed)] = (
        "random",
        "magnitude",
    )
    """Controls beside dense ones: random pruning with each method's own layer ratios (its masks shuffled in
    each layer), and magnitude where no method is it."""
    sanity: Annotated[tuple[Literal["shuffle", "reinit", "invert"], ...], BeforeValidator(_listed)] = ()
    """Arms beside each method: masks shuffled in each layer, the survivors re-initialised, the scores' order
    inverted."""
    test_curves: bool = False
    """Whether the test split is read after every epoch too: a diagnostic by which nothing is chosen."""
    corruptions: tuple[str, ...] = ()
    """Corruptions of the test images (see `prunery.data.corruptions`) that accuracy is measured under too."""
    forms: tuple[str, ...] = ()
    """Forms of each pruned network that are timed on one image, with the bytes of their files: `eager`,
    `sparse`, `onnx_runtime` and whatever else `prunery.forms.engines` has."""
    threads: int = Field(default=1, ge=1, strict=True)
    """Processor threads of each step; part of what a result depends on."""

    @property
    def compared(self) -> tuple[Method, ...]:
        """Return the methods, and the control magnitude (trained, else as the first) if it is asked for."""
        there = any(m.criterion.name == "magnitude" and m.at == "trained" for m in self.methods)
        if there or "magnitude" not in self.controls:
            return self.methods
        first = self.methods[0]
        axes = ("granularity", "scope", "exclude", "include", "floor", "sparsities")
        kept = {axis: getattr(first, axis) for axis in axes}
        if not first.in_training:  # whose schedule and recovery are no control of what they are worth
            kept |= {"schedule": first.asked_schedule, "recovery": first.recovery}
        control = Method(criterion=Choice("magnitude"), name=_free(self.methods), **kept)
        return (*self.methods, control)

    @property
    def included(self) -> tuple[str, ...]:
        """Return the patterns of parameters that any method prunes beside the usual ones."""
        return tuple(dict.fromkeys(pattern for method in self.methods for pattern in method.include or ()))

    @property
    def arms(self) -> tuple[str, ...]:
        """Return the sanity arms of each method; random pruning with its layer ratios is the first."""
        asked = ("shuffle", *self.sanity) if "random" in self.controls else self.sanity
        return tuple(dict.fromkeys(asked))

    def sparsities_of(self, method: Method) -> tuple[float, ...]:
        """Return the sparsities at which a method of this study is measured."""
        return method.sparsities or self.sparsities

    def trainings_of(self, method: Method) -> tuple[Training | None, ...]:
        """Return the training of each action of a method's recovery; None for one that does not train."""
        listed = (action.training for action in method.actions())
        return tuple(None if settings is None else self._merged(settings) for settings in listed)

    def training_during(self, method: Method) -> Training | None:
        """Return the training that a method's cuts lie in; None where they lie in none."""
        return self._merged(method.training_settings) if method.in_training else None

    def training_of(self, method: Method) -> Training:
        """Return the first training of a method's recovery; that of the task where no action trains."""
        return next((t for t in self.trainings_of(method) if t is not None), self.task.training)

    def epochs_of(self, method: Method, sparsity: float) -> int:
        """Return the epochs of training in all, before, in and after the cuts of a method."""
        trainings = (self.training_during(method), *self.trainings_of(method))
        each = sum(training.epochs for training in trainings if training is not None)
        rounds = len(method.levels(sparsity)) if method.bound_schedule().facts.get("between", False) else 1
        return each * rounds + (self.task.training.epochs if method.at == "trained" else 0)

    def _merged(self, settings: Mapping[str, Any]) -> Training:
        return merged(self.task.training, settings)

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        listed = list(enumerate(self.methods))
        problems = [*of_size(self.methods, self.sparsities, len(self.seeds))]
        if not problems:
            problems = [*of_task(self.task), *of_methods(listed, self.task.training, self.sparsities)]
        if problems:
            raise ProblemsError(problems)
        # here, and not where it is planned: it must be stored written out
        named = zip(self.methods, shortest(self.compared), strict=False)
        self.__dict__["methods"] = tuple(m.model_copy(update={"name": name}) for m, name in named)
        self.__dict__["methods"] = tuple(map(self._as_long, self.methods))
        return self

    def _as_long(self, method: Method) -> Method:
        """Return the method, with the epochs of the others by default if it prunes before training.

        Those are what the methods of the trained network have in all, the fewest where they differ. Left out:
        a method that recovers after each of several cuts, and one whose recovery the control copies.
        """
        asked = "recovery" in method.model_fields_set or method.in_training
        if asked or method.at == "trained" or method.bound_schedule().facts.get("between", False):
            return method
        copied = method is self.methods[0] and len(self.compared) > len(self.methods)
        others = [] if copied else [m for m in self.methods if m.at == "trained"]
        epochs = min((self.epochs_of(m, s) for m in others for s in self.sparsities_of(m)), default=0)
        if epochs <= self.task.training.epochs:
            return method
        return method.model_copy(update={"recovery": actions.checked(_for(epochs))})


def _for(epochs: int) -> dict[str, Any]:
    return {"name": "finetune", "training": {"epochs": epochs}}


def _free(methods: Sequence[Method]) -> str:
    """Return a name for the magnitude control that no method has."""
    taken = {method.name for method in methods}
    names = chain(["magnitude"], (f"magnitude (control {i})" for i in count(1)))
    return next(name for name in names if name not in taken)


class ProblemsError(ValueError):
    """What only shows when the parts of a spec are seen together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


def load(source: str, overrides: Sequence[str] = (), *, scale: str | None = None) -> Spec:
    """Return the one spec of a source (see `load_all`); SpecError where it is a study in several parts."""
    specs = load_all(source, overrides, scale=scale)
    if len(specs) > 1:
        parts = ", ".join(spec.name for spec in specs)
        raise SpecError(source, f"it has several parts: {parts}", "name one: study:NAME/PART")
    return specs[0]


def load_all(source: str, overrides: Sequence[str] = (), *, scale: str | None = None) -> tuple[Spec, ...]:
    """Return the specs from a YAML path, `study:NAME`, `study:NAME/PART` or `file.py:function`.

    `a.b=value` overrides are applied to each. `scale`: of a named study, smoke, cpu or full. All but a named
    study in parts are one spec. Raises SpecError that names every problem as `file: path.in.spec: message`.
    """
    try:
        data, label = sources.read(source, scale)
    except ValidationError as error:
        raise spec_error(source, _problems(error)) from None
    parts = data if isinstance(data, tuple) else (data,)
    return tuple(_loaded(part, source, label, overrides) for part in parts)


def _loaded(data: Any, source: str, label: str, overrides: Sequence[str]) -> Spec:
    if isinstance(data, Spec):
        if not overrides:
            return data
        data = plain(data)
    if not isinstance(data, Mapping):
        raise SpecError(
            label, f"a spec is a mapping, this is {type(data).__name__}", "write 'task:', 'methods:', ..."
        )
    limits.check(data, label)
    data = {"name": sources.stem(source), **data}
    return from_plain(sources.overridden(data, overrides), source=label)


def from_plain(data: Mapping[str, Any], *, source: str = "spec") -> Spec:
    """Return the spec that plain data spell, of `plain` or of a file; SpecError names every problem."""
    limits.check(data, source)
    try:
        return Spec.model_validate(dict(data))
    except ValidationError as error:
        problems = [p for p in _problems(error) if str(p)]
        seen = {str(p) for p in problems}
        problems += [p for p in _cross_of(data) if str(p) not in seen]
        raise spec_error(source, problems) from None


def plain(spec: Spec) -> dict[str, Any]:
    """Return the spec as plain data that JSON and YAML can hold; `from_plain` reads it back."""
    return spec.model_dump(mode="json", exclude_none=True, by_alias=True)


def _problems(error: ValidationError) -> list[Problem]:
    raised = [e.get("ctx", {}).get("error") for e in error.errors()]
    together = [p for e in raised if isinstance(e, ProblemsError) for p in e.problems]
    return together or of_validation(error, Spec)


def _cross_of(data: Mapping[str, Any]) -> list[Problem]:
    """Return what the sound parts of a spec say together when other parts of it are wrong."""
    entries = data.get("methods")
    methods = [(i, _sound(Method, m)) for i, m in enumerate(entries if isinstance(entries, list) else [])]
    task = data.get("task")
    training = _sound(Training, task.get("training") if isinstance(task, Mapping) else None)
    asked = data.get("sparsities")
    sparsities = [_parsed(s) for s in (asked if isinstance(asked, list) else [])]
    sound = [(i, m) for i, m in methods if m is not None]
    levels = [s for s in sparsities if s is not None]
    if too_large := list(of_size([m for _, m in sound], levels, 1)):
        return too_large
    return list(of_methods(sound, training, levels))


def _parsed(value: Any) -> float | None:
    try:
        return parse(value)
    except SparsityError:
        return None


def _sound(schema: Any, data: Any) -> Any:
    try:
        return schema.model_validate(data)
    except ValidationError:
        return None
