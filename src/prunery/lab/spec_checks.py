"""What is wrong between the parts of a spec that are sound by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prunery.core.binding import check_norm
from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.errors import PruneryError, SparsityError
from prunery.lab.limits import MOST_CELLS, MOST_CUTS, MOST_ENTRIES
from prunery.lab.spec_errors import Place, Problem
from prunery.lab.spec_parts import Method, Task
from prunery.registry import BoundEntry
from prunery.train.settings import Training, merged


def of_task(task: Task) -> Iterator[Problem]:
    """Yield what is wrong between the parts of a task."""
    if task.training.reads_validation and not task.validation:
        name = "select" if task.training.select == "validation" else "stop_at"
        what = f"training with {name}: {getattr(task.training, name)}"
        problem, do = "validation is 0: no image is set aside", f"set some aside, or leave {name} out"
        yield Problem(("task", "training", name), what, problem, do)


def of_size(methods: Sequence[Method], sparsities: Sequence[float], seeds: int) -> Iterator[Problem]:
    """Yield what is too much to be planned: methods, cells, and cuts on the way to them."""
    cells = seeds * sum(len(method.sparsities or sparsities) for method in methods)
    cuts = 0
    if len(methods) <= MOST_ENTRIES and cells <= MOST_CELLS:
        for method in methods:
            for sparsity in method.sparsities or sparsities:
                cuts += _cuts(method, sparsity)
                if cuts > MOST_CUTS:
                    break
    for number, most, what in (
        (len(methods), MOST_ENTRIES, "methods"),
        (cells, MOST_CELLS, "cells (methods x sparsities x seeds)"),
        (cuts, MOST_CUTS, "cuts of each seed"),
    ):
        if number > most:
            found = f"it has more than {most} {what}"
            yield Problem((), "the study", found, "make it smaller, or split it")


def _cuts(method: Method, sparsity: float) -> int:
    try:
        return len(method.cuts(sparsity) or ())
    except Exception:  # it is said with its place when the schedule is checked
        return 1


def of_methods(
    methods: Sequence[tuple[int, Method]], training: Training | None, sparsities: Sequence[float]
) -> Iterator[Problem]:
    """Yield names that stand twice, floors above the budget, schedules and trainings that cannot be."""
    first: dict[str, int] = {}
    for i, method in methods:
        place: Place = ("methods", i)
        if first.setdefault(method.name, i) != i:
            what, problem = f"the method name {method.name!r}", f"methods[{first[method.name]}] has it too"
            yield Problem(place, what, problem, "give each a 'name' of its own")
        bound = (criterion.bind(method.criterion), granularity.bind(method.granularity))
        yield from _raised((*place, "granularity"), check_norm, *bound)
        levels = method.sparsities or tuple(sparsities)
        yield from _floor_problem(place, method, max(levels, default=0.0))
        yield from _raised((*place, "schedule"), check_schedule, method, levels)
        yield from _recovery_problems(place, method)
        if training is not None:
            yield from _training_problems(place, method, training)


def _recovery_problems(place: Place, method: Method) -> Iterator[Problem]:
    for action in method.actions():
        if "dense" in action.needs and method.at == "init":
            yield Problem(
                (*place, "recovery"),
                f"recovery {action.choice.name!r}",
                "it needs the trained dense network, and the method prunes the untrained one",
                "write at: trained",
            )


def _training_problems(place: Place, method: Method, training: Training) -> Iterator[Problem]:
    """Yield what the settings of a method's trainings say against those of the task."""
    several = len(method.recovery) > 1
    for index, action in enumerate(method.actions()):
        where = (*place, "recovery", *([index] if several else []), "training")
        yield from _raised(where, merged, training, action.training or {})
    during: Place = (*place, "schedule", "training")
    problems = list(_raised(during, merged, training, method.training_settings))
    yield from problems
    if method.in_training and not problems and merged(training, method.training_settings).stop_at is not None:
        what, problem = "stop_at in a training whose cuts lie inside it", "they would not all be made"
        yield Problem(during, what, problem, "write stop_at: null there")


def _floor_problem(place: Place, method: Method, sparsity: float) -> Iterator[Problem]:
    if method.floor > 1 - sparsity + 1e-12:
        yield Problem(
            (*place, "floor"),
            f"a floor of {method.floor:g} in every layer",
            f"sparsity {sparsity:g} leaves a density of {1 - sparsity:g} in all",
            "lower the floor or the sparsity",
        )


def _raised(place: Place, call: Callable[..., Any], *args: Any) -> Iterator[Problem]:
    try:
        call(*args)
    except PruneryError as error:
        yield Problem.from_error(place, error)
    except (TypeError, ValueError) as error:
        yield Problem(place, "its options", str(error), "correct them")
    except Exception as error:  # a row of the user's own may raise anything
        yield Problem(place, "its row", f"it raises {type(error).__name__}: {error}", "correct it")


def check_schedule(method: Method, sparsities: Sequence[float]) -> None:
    """SparsityError unless the schedule's cuts end at each sparsity, and lie in a training if it says so."""
    bound = method.bound_schedule()
    inside = method.in_training
    if inside and bound.facts.get("between", False):
        _refuse(bound, "its facts say both `between` and `during`", "keep one of them")
    for sparsity in sparsities:
        cuts = method.cuts(sparsity)
        if cuts is None and not inside:
            _refuse(bound, "it gives a mask update, and its facts do not say `during`", "add during=True")
        if cuts is None:
            continue
        if inside != (cuts[0].at is not None):
            places = "have no place in it" if inside else "lie inside a training"
            _refuse(bound, f"its cuts {places}, its facts say during={inside}", "let the two agree")
        if abs(cuts[-1].sparsity - sparsity) > 1e-9:
            _refuse(
                bound, f"its last cut is to {cuts[-1].sparsity:g}, not to {sparsity:g}", "end at the target"
            )


def _refuse(bound: BoundEntry, problem: str, do: str) -> None:
    raise SparsityError(f"schedule {bound.name!r}", problem, do)
