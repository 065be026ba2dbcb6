"""Every form of a pruned network in one comparison: made, checked, timed in turns, and counted on images."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prunery.core.bits import threads_of
from prunery.core.masks import Masks
from prunery.errors import ChoiceError, CompactError
from prunery.export.compact import compacted
from prunery.export.formats import TOLERANCE, compared, parameters_of, worth_cutting
from prunery.export.program import padded
from prunery.forms.comparison import Comparison, Row
from prunery.forms.engines import Form, form, reason_of, why_absent
from prunery.forward import call_of, placed
from prunery.measure.accuracy import evaluate
from prunery.measure.latency import latency
from prunery.wrappers import unwrapped

if TYPE_CHECKING:
    from prunery.data.splits import Split


class _AbsentError(Exception):
    """A form that cannot be had; why."""


_IMAGES = 250  # in a batch, where accuracy is counted


@dataclass(frozen=True)
class Plan:
    """A form to be made: by which engine, of which network, and which one it must compute the same as.

    zeros: it may gain by what was pruned.
    """

    name: str
    engine: str
    model: nn.Module | str  # a text: why there is none
    same: nn.Module
    zeros: bool


def bench(
    model: nn.Module,
    example: Any,
    *,
    masks: Mapping[str, Tensor] | None = None,
    dense: nn.Module | None = None,
    trained: bool = True,
    split: Split | None = None,
    inputs: Sequence[Any] = (),
    forms: Sequence[str] | None = None,
    threads: int = 1,
    rounds: int = 50,
    progress: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Return what each form of a pruned network takes: milliseconds on `example`, bytes, and accuracy.

    The forms: the dense network, the masked one, and what is left when all that can be cut out is, in torch;
    then each engine of `prunery.forms.engines` on the masked one, or, where a tenth of the parameters or more
    is cut out, on what is left and on the dense one too (fewer make odd widths, which engines are slower at).
    masks: removed weights are 0; None for the zeros that the model has. dense: the network before it was
    pruned; None for the masked one, whose zeros take as long as other weights. trained: the dense one has
    weights that accuracy can be counted with. split: images for that. inputs: real inputs; on them, the
    example, random ones and other batch sizes each form is compared with the masked model. forms: names of
    engines, all by default. progress: called with the name of a form before it is made.

    A form that is not installed, fails, or differs by more than 1e-4 of the largest output is listed with the
    reason. ChoiceError: an unknown form, or `rounds` or `threads` below 1.
    """
    chosen = [form[name].name for name in (form if forms is None else forms)]
    if rounds < 1 or threads < 1:
        raise ChoiceError("a comparison of forms", f"{rounds} rounds, {threads} threads", "give 1 or more")
    masked = copy.deepcopy(unwrapped(model)).eval()
    if masks:
        (masks if isinstance(masks, Masks) else Masks(masks)).apply_(masked)
    before = masked if dense is None else dense.eval()
    example, cut = placed(example, masked), _cut_out(masked, before, example)
    rows, missing = [], {}
    with threads_of(threads), tempfile.TemporaryDirectory() as folder:
        small = masked if isinstance(cut, str) or not worth_cutting(before, cut) else cut
        for number, plan in enumerate(_plans(masked, before, cut, small, chosen)):
            progress(plan.name)
            place = Path(folder) / str(number)
            place.mkdir()
            untrained = plan.name.startswith("dense") and (dense is None or not trained)
            counted = None if untrained else split
            try:
                rows.append(_row(plan, example, threads, place, counted, inputs))
            except _AbsentError as reason:
                missing[plan.name] = str(reason)
            except Exception as problem:  # an engine may raise anything
                missing[plan.name] = reason_of(problem)
        times = latency({row.name: row.call for row in rows}, example, rounds=rounds, threads=threads)
    return Comparison(tuple(rows), missing, times)


def _cut_out(masked: nn.Module, dense: nn.Module, example: Any) -> nn.Module | str:
    """Return the smaller network, or why there is none."""
    if parameters_of(masked) < parameters_of(dense):
        return masked  # it was cut before
    try:
        done = compacted(masked, None, example)
    except CompactError as problem:
        return problem.found
    if parameters_of(done.model) == parameters_of(masked):
        return "nothing can be cut out"
    return done.model.eval()


def _plans(
    masked: nn.Module,
    dense: nn.Module,
    cut: nn.Module | str,
    small: nn.Module,
    chosen: Sequence[str],
) -> Iterator[Plan]:
    """Yield the forms in the order of the table; the dense one is first."""
    yield Plan("dense", "eager", dense, dense, False)
    uncut = "what was pruned is cut out already" if cut is masked else masked
    yield Plan("masked", "eager", uncut, masked, False)
    yield Plan("compacted", "eager", cut, masked, True)
    engines = [name for name in chosen if name != "eager"]
    for name in engines:
        gains = bool(form[name].facts.get("zeros")) or small is cut
        yield Plan(_label(name), name, small, masked, gains)
    if small is cut:
        for name in engines:
            if not form[name].facts.get("zeros"):
                yield Plan(f"dense, {_label(name)}", name, dense, dense, False)


def _label(name: str) -> str:
    return str(form[name].facts.get("label", name))


def _row(
    plan: Plan,
    example: Any,
    threads: int,
    folder: Path,
    split: Split | None,
    inputs: Sequence[Any],
) -> Row:
    """Return a form: made, compared with the network that it must equal, and counted."""
    if isinstance(plan.model, str):
        raise _AbsentError(plan.model)
    if reason := why_absent(plan.engine):
        raise _AbsentError(reason)
    if plan.name == "dense":
        made = _as_state_dict(plan.model, folder)
    else:
        made = form[plan.engine].function(plan.model, example, threads, folder)
    args, kwargs = call_of(example)
    with torch.inference_mode():
        made.call(*args, **kwargs)  # what raises here would end the timing of all
    gap = compared(plan.same, made.call, example, inputs, made.batch, TOLERANCE, plan.name)[0]
    counts = None
    if split is not None:
        call = made.call if made.batch is None else padded(made.call, made.batch)
        counts = evaluate(call, split, batch=made.batch or _IMAGES)
    return Row(plan.name, made.call, made.bytes, made.file, plan.zeros, gap, counts, made.note)


def _as_state_dict(model: nn.Module, folder: Path) -> Form:
    """Return the dense form as it usually lies on a disk: what torch.save writes."""
    torch.save(model.state_dict(), folder / "model.pt")
    return Form(model, (folder / "model.pt").stat().st_size, "torch.save")
