"""A model in another format, kept only if it computes what the masked model does."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.masks import Masks
from prunery.errors import ChoiceError, ExportError
from prunery.export.agree import called, outputs, variations
from prunery.export.compact import compacted
from prunery.export.container import load, save
from prunery.export.onnx import check_installed, read_onnx, write_onnx
from prunery.export.plain import read_plain, write_plain
from prunery.export.program import Program, batch_of, program_of, read_pt2, taken, write_pt2
from prunery.export.values import VALUES
from prunery.forward import placed
from prunery.registry import nearest
from prunery.wrappers import unwrapped

FORMATS = ("prunery", "safetensors", "onnx", "pt2")
TOLERANCE = 1e-4
"""The largest difference of outputs that is kept, as a share of the largest output."""

_LEAST = 0.1  # of the parameters


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked. difference: the largest, over the largest output in size."""

    path: Path
    to: str
    bytes: int
    difference: float
    compared: int  # examples whose outputs were compared
    batch: int | None  # the only batch size that it takes; None for any
    parameters: tuple[int, int]  # before and after what could be cut out was
    call: Callable[..., Any] = field(repr=False, compare=False)  # the file, read back

    def __str__(self) -> str:
        before, after = self.parameters
        cut = f"; {before - after:,} of {before:,} parameters are cut out" if after < before else ""
        size = "" if self.batch is None else f"; takes {self.batch} examples at once, no other number"
        differ = f"differ by at most {self.difference:.2g} of the largest" if self.difference else "are equal"
        checked = f"outputs {differ}, against the masked model on {self.compared} examples"
        return f"{self.path}: {self.bytes:,} bytes{cut}{size}; {checked}"


def export(
    model: nn.Module,
    path: str | os.PathLike[str],
    to: str,
    example: Any,
    *,
    masks: Mapping[str, Tensor] | None = None,
    inputs: Sequence[Any] = (),
    smaller: bool | None = None,
    values: str = "float32",
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a pruned model in another format, check what is read back, and return what was written.

    to: "prunery" (as `prunery.save`), "safetensors" (a plain state dict), "onnx" or "pt2" (a program of
    torch.export). example: what the model can be called with. masks: removed weights are 0 in the file; the
    model is not changed. inputs: more of what it is called with, real ones, on which outputs are compared;
    those on the example, on random inputs and in other batch sizes always are. smaller: what can be cut out
    is, as by `prunery.compact`; by default for "onnx" and "pt2" alone, whose readers need no sizes, and if it
    is a tenth of the parameters: a few channels less are odd widths, which engines are slower at.
    values: of "prunery" alone, as in `prunery.save`; a difference that comes of them is said, not refused.

    The file is there only if outputs differ by at most `tolerance` of the largest. ExportError: they differ
    by more, the model cannot be written so, or the extra `export` is not installed. ChoiceError: an unknown
    format, or `values` for another one. CompactError, MasksError: as of `prunery.compact`.
    """
    check_format(to, values)
    masked = copy.deepcopy(unwrapped(model)).eval()
    if masks:
        (masks if isinstance(masks, Masks) else Masks(masks)).apply_(masked)
    example = placed(example, masked)
    cut = to in ("onnx", "pt2") if smaller is None else smaller
    shipped = compacted(masked, None, example).model.eval() if cut else masked
    if smaller is None and not worth_cutting(masked, shipped):
        shipped = masked
    target = Path(path)
    if not target.parent.is_dir():
        raise ExportError(f"to write {target}", f"there is no folder {target.parent}", "make it first")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        beside = Path(folder) / f"model.{to}"
        call, batch = _written(to, shipped, masked, beside, example, values)
        limit = tolerance if values == "float32" else float("inf")
        gap, count = compared(masked, call, example, inputs, batch, limit, to)
        os.replace(beside, target)
    sizes = (parameters_of(masked), parameters_of(shipped))
    return Exported(target, to, target.stat().st_size, gap, count, batch, sizes, call)


def worth_cutting(model: nn.Module, smaller: nn.Module) -> bool:
    """Return whether a tenth of the parameters goes."""
    return parameters_of(smaller) <= (1 - _LEAST) * parameters_of(model)


def check_format(to: str, values: str) -> None:
    """Raise ChoiceError for an unknown format, or values that it has not; ExportError for a missing extra."""
    if to not in FORMATS:
        do = f"choose {', '.join(FORMATS)}"
        raise ChoiceError(f"the format {to!r}", f"there is none of that name{nearest(to, FORMATS)}", do)
    if values not in VALUES:
        do = f"choose {', '.join(map(repr, VALUES))}"
        raise ChoiceError("values", f"{values!r} is not known", do)
    if to != "prunery" and values != "float32":
        do = "leave them out, or write to prunery"
        raise ChoiceError(f"values {values!r} in {to}", "they are of prunery's own format alone", do)
    if to == "onnx":
        check_installed()


def _written(
    to: str, model: nn.Module, masked: nn.Module, path: Path, example: Any, values: str
) -> tuple[Callable[..., Any], int | None]:
    """Write the file; return what is read back from it as a function, and its batch size, None for any."""
    if to == "prunery":
        save(model, path, values=values)
        return load(path, into=_blank(masked)), None
    if to == "safetensors":
        write_plain(model.state_dict(), path)
        return read_plain(path, into=_blank(model)), None
    program: Program = program_of(model, example)
    if to == "onnx":
        write_onnx(program, path)
        return read_onnx(path), program.batch
    write_pt2(program, path)
    return read_pt2(path), program.batch


def _blank(model: nn.Module) -> nn.Module:
    """Return a copy whose parameters and buffers are NaN, or the number 1, so that what is not read shows."""
    blank = copy.deepcopy(model)
    with torch.no_grad():
        for name, tensor in (*blank.named_parameters(), *blank.named_buffers()):
            if name in blank.state_dict():
                tensor.fill_(float("nan") if tensor.is_floating_point() else 1)
    return blank


def compared(
    masked: nn.Module,
    call: Callable[..., Any],
    example: Any,
    inputs: Sequence[Any],
    batch: int | None,
    limit: float,
    to: str,
) -> tuple[float, int]:
    """Return the largest difference of outputs, and on how many examples; ExportError beyond `limit`.

    batch: the only number of examples that the form takes; None for any. to: what it is called in an error.
    """
    largest, count = 0.0, 0
    for kind, given in _trials(example, [placed(x, masked) for x in inputs], batch):
        expected = outputs(masked, given)
        if isinstance(expected, Exception):
            continue
        found = called(call, given)
        gap = share(expected, found)
        if isinstance(gap, str) or gap > limit:
            problem = gap if isinstance(gap, str) else f"outputs differ by {gap:.2g} of the largest"
            do = f"allow more than {limit:g} with `tolerance`, or use another format"
            raise ExportError(f"the model as {to}", f"on {kind} {problem}", do)
        largest, count = max(largest, gap), count + (batch_of(given) or 1)
    if not count:
        do = "give an example that the model can be called with"
        raise ExportError(f"the model as {to}", "nothing could be compared", do)
    return largest, count


def _trials(example: Any, inputs: Sequence[Any], batch: int | None) -> Iterator[tuple[str, Any]]:
    """Yield inputs with what they are, all of the one batch size if there is one."""
    for kind, given in variations(example):
        size = batch_of(given)
        if "thousand" not in kind and (batch is None or size == batch):
            yield kind, given
    if batch is None and (batch_of(example) or 0) > 1:
        yield "one example", taken(example, [0])
    for given in inputs:
        size = batch_of(given) or 0
        if batch is None or size == batch:
            yield "real inputs", given
            continue
        for first in range(0, size - batch + 1, batch):
            yield "real inputs", taken(given, list(range(first, first + batch)))


def share(expected: Sequence[Tensor], found: Sequence[Tensor] | Exception) -> float | str:
    """Return the largest difference over the largest output; a text where they cannot be compared."""
    if isinstance(found, Exception):
        return f"it raises {type(found).__name__}: {' '.join(str(found).split())[:300]}"
    if [t.shape for t in expected] != [t.shape for t in found]:
        shapes = [[tuple(t.shape) for t in each] for each in (found, expected)]
        return f"outputs have shapes {shapes[0]}, not {shapes[1]}"
    largest = 0.0
    for one, other in zip(expected, found, strict=True):
        one, other = one.cpu().double(), other.cpu().double()
        finite = torch.isfinite(one)
        if not torch.equal(finite, torch.isfinite(other)):
            return "outputs are infinite or not a number in other places"
        if one.numel():
            size = float(one.where(finite, 0.0).abs().max())
            gap = float((one - other).where(finite, 0.0).abs().max())
            largest = max(largest, gap / size if size else float(gap > 0))
    return largest


def parameters_of(model: nn.Module) -> int:
    """Return how many parameters a model has."""
    return sum(parameter.numel() for parameter in model.parameters())
