"""A model as a callable that skips its zeros: `prunery.sparse_callable`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prunery.errors import ChoiceError, ModelError
from prunery.forward import call_of, mapped, no_trace, tensors
from prunery.runtime import native
from prunery.runtime.layers import Layer, Layers, layers_of
from prunery.runtime.linear import ByTorch, LinearPlan, in_chunks, quickest
from prunery.runtime.parts import parts_of
from prunery.runtime.plan import Part, Plan, Staged
from prunery.runtime.program import NotSeparableError, take_apart
from prunery.runtime.report import Report, rows_of
from prunery.runtime.tune import Tuner, in_turns, least_seconds
from prunery.wrappers import unwrapped

CACHE = 400 * 1024  # bytes of the second cache that activations may take
MOST_IMAGES = 16
SEARCH = {"fast": 0.5, "best": 5.0}  # seconds for the linear layers of a part
TOLERANCE = 1e-4  # of the largest output
GAIN = 1.0  # how many times as fast as dense torch it must be to be worth it


def sparse_callable(
    model: nn.Module, example: Any, *, threads: int | None = None, tune: str = "fast"
) -> SparseCallable:
    """Return a callable that computes what `model` does in eval mode, without its zeros where that is faster.

    example: what the model is called with: a tensor, a tuple of arguments or a mapping of keywords. Other
    sizes of the batch (the first axis) work; other shapes are refused. threads: None for as many as torch
    has. tune: "fast" tries a few kernels a layer, "best" more of them.

    It is a snapshot: weights that change later are not seen. Batch norms are folded; convolutions and linear
    layers run by whichever of torch's dense kernels, torch's CSR product and sparse kernels was the fastest
    here; what is not known runs in torch. Results are within 1e-4 of the largest output. float32 on a CPU
    with AVX2 or AVX-512 and llvmlite (`pip install 'prunery[runtime]'`); elsewhere, or where nothing is
    gained, it is the dense model, and `report()` says so. A removed weight is not multiplied: infinity times
    0 does not become NaN; NaN and infinity that meet a weight spread as in torch. Hooks run once, when the
    model is read. Calls from several threads wait for each other.

    ModelError: no call of the model, or one that is not on a CPU. ChoiceError: an unknown `tune`, or no
    number of threads.
    """
    if tune not in SEARCH:
        raise ChoiceError(f"tune={tune!r}", "there is no such effort", f"choose one of: {', '.join(SEARCH)}")
    threads = torch.get_num_threads() if threads is None else threads
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise ChoiceError(f"threads={threads!r}", "it is no number of threads", "give 1 or more, or None")
    where = {t.device.type for t in (*model.parameters(), *model.buffers(), *tensors(example))}
    if where - {"cpu"}:
        found = f"parts of the model or of the example are on {', '.join(sorted(where - {'cpu'}))}"
        raise ModelError("a sparse callable", found, "move both to the CPU")
    with torch.no_grad():
        return SparseCallable(unwrapped(model), example, threads, tune)


class SparseCallable:
    """A model that skips its zeros; see `sparse_callable`."""

    def __init__(self, model: nn.Module, example: Any, threads: int, tune: str) -> None:
        self.threads, self.tune = threads, tune
        self._lock = threading.Lock()
        self._given = [tuple(t.shape[1:]) for t in tensors(example)]
        self._dtypes = [t.dtype for t in tensors(example)]
        self._structure = mapped(lambda _: torch.empty(0), call_of(example))
        self._plans: dict[tuple[int, int], Plan | Staged | LinearPlan | ByTorch] = {}
        self._network: Layers | None = None
        self._tuner = Tuner({}, tune)
        self._parts: list[Layer | Part] = []
        self._reason = ""
        self._sparse = False
        args, kwargs = call_of(example)
        with _threads(threads):
            self._output = _called(model, args, kwargs)
            self._read(model, example)
            self._decide(list(tensors(example)))
        self._output = mapped(lambda _: torch.empty(0), self._output)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model does: tensors, in the structure that the model returns."""
        given = list(tensors((args, kwargs)))
        self._check(given)
        with self._lock, torch.no_grad(), _threads(self.threads):
            if self._network is None:
                return self._model(*args, **kwargs)
            return self._structured(self._run(given, sparse=self._sparse))

    def report(self) -> Report:
        """Return what each layer runs and how fast it is, and the whole against the dense model."""
        return self._report

    def __repr__(self) -> str:
        return f"<sparse callable: {self._report.verdict}>"

    def __reduce__(self) -> Any:
        raise ModelError(
            "a sparse callable as a file or a copy",
            "it holds machine code of this process",
            "save the model, and make the callable again where it is needed",
        )

    # making
    def _read(self, model: nn.Module, example: Any) -> None:
        try:
            self._network = layers_of(take_apart(model, example))
            self._tuner.constants = self._network.constants
        except NotSeparableError as why:
            self._reason = str(why)
            self._model = _copied(model)
            return
        made_for = native.isa()
        if isinstance(made_for, str):
            self._reason = made_for
            return
        self._parts = parts_of(self._network)
        if not any(isinstance(part, Part) for part in self._parts):
            self._reason = "no layer has enough zeros"

    def _decide(self, given: list[Tensor]) -> None:
        """Compare with the model on the example, in what comes out and in time."""
        seconds = dense = 0.0
        if not self._reason:
            apart = _apart(self._run(given, sparse=True), list(tensors(self._output)))
            if apart > TOLERANCE:
                self._reason = f"the kernels' output is {apart:.1e} from the model's"
        if self._reason and self._network:
            seconds = dense = least_seconds(lambda: self._dense(given), self.threads)
        elif self._network:
            runs = [partial(self._run, given, sparse=True), partial(self._dense, given)]
            seconds, dense = in_turns(runs, self.threads)
            self._sparse = dense > GAIN * seconds
            self._reason = "" if self._sparse else "sparse kernels gain nothing here"
        if not self._sparse:
            self._plans.clear()
            self._tuner = Tuner({}, self.tune)
        batch = given[0].shape[0] if given else 0
        self._report = self._reported(batch, seconds if self._sparse else dense, dense)

    def _reported(self, batch: int, seconds: float, dense: float) -> Report:
        made_for = native.isa()
        if self._sparse:
            verdict = f"Sparse kernels make it {dense / seconds:.2f} times as fast as torch's dense ones."
        else:
            verdict = f"It is the dense model: {self._reason}."
        return Report(
            rows=rows_of(self._network.layers if self._network else [], self._tuner.found),
            batch=batch,
            threads=self.threads,
            isa=made_for if isinstance(made_for, str) else made_for.name,
            seconds=seconds,
            dense_seconds=dense,
            flushed=self._tuner.flushed,
            megabytes=self._tuner.nbytes / 1e6,
            verdict=verdict,
        )

    # running
    def _check(self, given: list[Tensor]) -> None:
        shapes = [tuple(t.shape[1:]) for t in given]
        if shapes != self._given or [t.dtype for t in given] != self._dtypes:
            wanted = ", ".join(
                f"(N, {', '.join(map(str, s))}) {d}" for s, d in zip(self._given, self._dtypes, strict=True)
            )
            found = ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in given) or "no tensor"
            raise ModelError(
                f"a callable made for {wanted}", f"it was called with {found}", "make another one"
            )
        if any(t.device.type != "cpu" for t in given):
            raise ModelError("a sparse callable", "its input is not on the CPU", "move it there")
        if len({t.shape[0] for t in given}) > 1:
            raise ModelError(
                "a sparse callable", "its inputs differ in their first axis", "give equal batches"
            )

    def _dense(self, given: list[Tensor]) -> Any:
        if self._network is None:
            return None
        return self._network.run(given, given[0].shape[0])

    def _run(self, given: list[Tensor], *, sparse: bool) -> list[Tensor]:
        network, batch = self._network, given[0].shape[0]
        assert network is not None
        if not sparse or batch == 0:
            return network.run(given, batch)
        values = {**network.constants, **dict(zip(network.inputs, given, strict=True))}
        for part in self._parts:
            if isinstance(part, Layer):
                part.run(values, batch)
            else:
                self._run_part(part, values)
        return [values[number] for number in network.outputs]

    def _run_part(self, part: Part, values: dict[int, Tensor]) -> None:
        given = [values[n] for n in part.inputs]
        rows = given[0].shape[0]
        made = [torch.empty(rows, *part.shapes[n]) for n in part.outputs]
        if part.of_rows:
            in_chunks(self._linear(part, given), given, made)
        begin = rows if part.of_rows else 0
        while begin < rows:
            plan = self._plan(part, rows - begin)
            here = slice(begin, begin + plan.images)
            plan.run([t[here] for t in given], [t[here] for t in made])
            begin += plan.images
        values.update(zip(part.outputs, made, strict=True))

    def _linear(self, part: Part, given: list[Tensor]) -> LinearPlan | ByTorch:
        """The quickest way found for a part of linear layers, for about as many rows."""
        key = (id(part), given[0].shape[0].bit_length())
        if key not in self._plans:
            self._plans[key] = quickest(part, given, self.threads, self._tuner, SEARCH[self.tune])
        plan = self._plans[key]
        assert isinstance(plan, LinearPlan | ByTorch)
        return plan

    def _plan(self, part: Part, left: int) -> Plan | Staged:
        """The plan of a part for that many images or for the first of them, made where it is needed first."""
        made_for = native.isa()
        assert isinstance(made_for, native.Isa)
        staged = left > made_for.lanes // 2 and part.split()[1] is not None
        key = (id(part), staged)
        if key not in self._plans:
            make = partial(self._made, left=left)
            self._plans[key] = Staged(part, made_for.lanes, make) if staged else make(part, 1)
        plan = self._plans[key]
        assert isinstance(plan, Plan | Staged)
        return plan

    def _made(self, part: Part, lanes: int, left: int) -> Plan:
        fitting = max(self.threads, min(MOST_IMAGES, CACHE // part.bytes()))
        return Plan(part, lanes if lanes > 1 else min(left, fitting), self.threads, self._tuner, lanes)

    def _structured(self, results: list[Tensor]) -> Any:
        left = iter(results)
        return mapped(lambda _: next(left), self._output)


def _called(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with no_trace(model):
        try:
            return model(*args, **kwargs)
        except Exception as error:
            found = f"the model raised {type(error).__name__} on the example: {error}"
            raise ModelError(
                "a sparse callable", found, "give an example that it can be called with"
            ) from error


def _copied(model: nn.Module) -> nn.Module:
    copy = deepcopy(model)
    copy.eval()
    return copy


def _apart(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference as a fraction of the largest value."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        scale = float(b.abs().max()) if b.numel() else 0.0
        difference = float((a - b).abs().max()) if b.numel() else 0.0
        worst = max(worst, difference / scale if scale else difference)
    return worst


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Within it torch has that many threads."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
