"""A model as a callable that skips its zeros: `prunery.sparse_callable`."""

from __future__ import annotations

import math
import threading
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.bits import threads_of
from prunery.errors import ChoiceError, ModelError
from prunery.forward import call_of, mapped, no_trace, tensors
from prunery.runtime import native
from prunery.runtime.layers import Layers, layers_of
from prunery.runtime.parts import parts_of
from prunery.runtime.plan import Part
from prunery.runtime.program import NotSeparableError, take_apart
from prunery.runtime.report import Report, rows_of
from prunery.runtime.running import SEARCH, Running
from prunery.runtime.tune import Timed, Tuner, in_turns, least_seconds
from prunery.wrappers import unwrapped

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
    0 does not become NaN; NaN and infinity that meet a weight spread as in torch. Hooks run when the model
    is read, not in a call. Results carry no gradient. Calls from several threads wait for each other.

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
    with torch.inference_mode(False), torch.no_grad():  # buffers outlive this, see `__call__`
        return SparseCallable(unwrapped(model), example, threads, tune)


class SparseCallable:
    """A model that skips its zeros; see `sparse_callable`."""

    def __init__(self, model: nn.Module, example: Any, threads: int, tune: str) -> None:
        self.threads, self.tune = threads, tune
        self._lock = threading.Lock()
        self._given = [tuple(t.shape[1:]) for t in tensors(example)]
        self._dtypes = [t.dtype for t in tensors(example)]
        self._accepted: list[Any] = []
        self._structure = _structure(call_of(example))
        self._single = isinstance(example, Tensor)
        self._network: Layers | None = None
        self._running: Running | None = None
        self._reason = ""
        args, kwargs = call_of(example)
        with threads_of(threads):
            self._output = _called(model, args, kwargs)
            self._read(model, example)
            self._decide(list(tensors(example)))
        self._plain = isinstance(self._output, Tensor)
        self._output = mapped(lambda _: torch.empty(0), self._output)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model does: tensors, in the structure that the model returns."""
        given = self._tensors(args, kwargs)
        signature = [(t.shape, t.dtype, t.device) for t in given]
        if signature != self._accepted:
            self._check(given)
            self._accepted = signature
        with self._lock:
            results = self._results(given, args, kwargs)
        if self._network is None:
            return results
        return results[0] if self._plain else self._structured(results)

    def _results(self, given: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._running is None or (batch := given[0].shape[0]) == 0:
            return self._dense(given, args, kwargs)
        if recorded := self._running.recorded.get(batch):
            if not torch.is_inference_mode_enabled():
                return recorded(given)
            with torch.inference_mode(False):
                return recorded(given)
        # buffers outlive the call and other threads write to them: neither may be of inference mode
        with torch.inference_mode(False), torch.no_grad(), threads_of(self.threads):
            return self._running(given)

    def _dense(self, given: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        network = self._network
        run = partial(self._model, *args, **kwargs) if network is None else partial(network.run, given)
        if not torch.is_grad_enabled() and torch.get_num_threads() == self.threads:
            return run()  # entering the contexts is a tenth of the time of a small network
        with torch.no_grad(), threads_of(self.threads):
            return run()

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
        except NotSeparableError as why:
            self._reason = str(why)
            self._model = _copied(model)
            return
        made_for = native.isa()
        if isinstance(made_for, str):
            self._reason = made_for
            return
        parts = parts_of(self._network)
        if not any(isinstance(part, Part) for part in parts):
            self._reason = "no layer has enough zeros"
            return
        tuner = Tuner(self._network.constants, self.tune)
        self._running = Running(self._network, parts, self.threads, tuner)

    def _decide(self, given: list[Tensor]) -> None:
        """Compare with the model on the example, in what comes out and in time."""
        seconds = dense = 0.0
        found: list[Timed] = []
        if self._running is not None:
            apart = _apart(self._running(given), list(tensors(self._output)))
            found = self._running.tuner.found
            if apart > TOLERANCE:
                self._reason = f"the kernels' output is {apart:.1e} from the model's"
                self._running = None
        if self._running is not None and self._network is not None:
            runs = [partial(self._running, given), partial(self._network.run, given)]
            seconds, dense = in_turns(runs, self.threads)
            if dense <= GAIN * seconds:
                self._reason, self._running = "sparse kernels gain nothing here", None
        elif self._network is not None:
            dense = least_seconds(partial(self._network.run, given), self.threads)
        batch = given[0].shape[0] if given and given[0].ndim else 0
        self._report = self._reported(batch, seconds if self._running else dense, dense, found)

    def _reported(self, batch: int, seconds: float, dense: float, found: list[Timed]) -> Report:
        made_for, tuner = native.isa(), self._running.tuner if self._running else Tuner({})
        if self._running is not None:
            verdict = f"Sparse kernels make it {dense / seconds:.2f} times as fast as torch's dense ones."
        else:
            verdict = f"It is the dense model: {self._reason}."
        return Report(
            rows=rows_of(self._network.layers if self._network else [], found, bool(self._running)),
            batch=batch,
            threads=self.threads,
            isa=made_for if isinstance(made_for, str) else made_for.name,
            seconds=seconds,
            dense_seconds=dense,
            flushed=tuner.flushed,
            megabytes=tuner.nbytes / 1e6,
            verdict=verdict,
        )

    # running
    def _tensors(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
        """The tensors of a call, which must be made as the example was."""
        if self._single and len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
            return [args[0]]
        kwargs = {name: kwargs[name] for name in self._structure[1] if name in kwargs} | kwargs
        if _structure((args, kwargs)) != self._structure:
            found = f"{len(args)} arguments" + "".join(f", {name}=" for name in kwargs)
            asked = "a call of a sparse callable"
            do = "call it as the example does, with the same values of all that is no tensor"
            raise ModelError(asked, f"it does not fit the example: {found}", do)
        return list(tensors((args, kwargs)))

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
        if self._network is not None and len({t.shape[0] for t in given}) > 1:
            raise ModelError(
                "a sparse callable", "its inputs differ in their first axis", "give equal batches"
            )

    def _structured(self, results: list[Tensor]) -> Any:
        left = iter(results)
        return mapped(lambda _: next(left), self._output)


def _structure(call: Any) -> Any:
    """The call with None for each tensor."""
    nothing: Any = lambda _: None  # noqa: E731
    return mapped(nothing, call)


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
    """The largest difference as a fraction of the largest value; infinite if `found` alone is infinite."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        one, other = a.double(), b.double()
        finite = other.isfinite()
        if not bool(one[finite].isfinite().all()):
            return math.inf
        size, gap = (
            float(t.where(finite, 0.0).abs().amax()) if b.numel() else 0.0 for t in (other, one - other)
        )
        worst = max(worst, gap / size if size else gap)
    return worst
