"""`prunery bench`: every form of a pruned network in one table, and a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.called_with import ClassesOption, ExampleOption, ShapeOption
from prunery.cli.options import STORE, DataOption, StoreOption, say_error, say_plain
from prunery.cli.subject import Asked, SetOption, SplitOption, SubjectArgument, WeightsOption
from prunery.errors import ChoiceError, ModelError

if TYPE_CHECKING:
    from torch import nn

    from prunery.cli.subject import Subject
    from prunery.forms.comparison import Comparison

DenseOption = Annotated[
    Path | None,
    typer.Option(
        "--dense", metavar="FILE", help="Of a MODEL: its weights before it was pruned, for accuracy."
    ),
]
BatchOption = Annotated[
    str, typer.Option("--batch", metavar="LIST", help="Examples in a call that is timed: 1, or 1,64.")
]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Processor threads of every form.")]
RoundsOption = Annotated[int, typer.Option("--rounds", min=1, help="Turns that each form has.")]
FormsOption = Annotated[
    str | None, typer.Option("--forms", metavar="LIST", help="Engines, with commas between; by default all.")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write every number here as well.")
]


def bench(
    subject: SubjectArgument,
    weights: WeightsOption = None,
    store: StoreOption = STORE,
    dense: DenseOption = None,
    data: SetOption = None,
    split: SplitOption = "test",
    shape: ShapeOption = None,
    classes: ClassesOption = None,
    example: ExampleOption = None,
    batch: BatchOption = "1",
    threads: ThreadsOption = 1,
    rounds: RoundsOption = 50,
    forms: FormsOption = None,
    json_file: JsonOption = None,
    data_dir: DataOption = None,
) -> int:
    """Compare all forms of a pruned network: latency in turns, bytes, accuracy, and what is to be said."""
    sizes = _sizes(batch)
    asked = Asked(subject, weights, store, shape, classes, example, data, split, data_dir).checked()
    if dense is not None and not asked.is_model:
        raise ChoiceError("--dense for a run", "a run has its own dense network", "leave it out")
    if dense is not None and not dense.is_file():
        raise ModelError(f"the weights {dense}", "there is no such file", "name one")
    from prunery.forms.bench import bench as compared
    from prunery.forms.engines import form

    chosen = None if forms is None else [form[name.strip()].name for name in forms.split(",")]
    found = asked.load()
    before, trained = _dense(found, dense, asked.name)
    say_plain(_head(found, sizes, threads, rounds))
    all_done: dict[int, Comparison] = {}
    for size in sizes:
        done = compared(
            found.model,
            _example(found, size),
            masks=found.masks,
            dense=before,
            trained=trained,
            split=None if all_done else found.split,
            inputs=found.inputs(64),
            forms=chosen,
            threads=threads,
            rounds=rounds,
            progress=lambda name: say_error(f"making: {name}") if sys.stderr.isatty() else None,
        )
        all_done[size] = done.counted_as(all_done[sizes[0]]) if all_done else done
        say_plain(f"{f'batch {size}' if len(sizes) > 1 else ''}\n{all_done[size]}".lstrip("\n"))
    if json_file is not None:
        from prunery.atomic import atomic_write

        each = [{"batch": size, **_machine(), **done.data()} for size, done in all_done.items()]
        content = {"network": found.title, **(each[0] if len(each) == 1 else {"batches": each})}
        atomic_write(json_file, (json.dumps(content, indent=1) + "\n").encode())
    return 0


def _sizes(text: str) -> list[int]:
    """Return the sizes of a batch that are asked for; ChoiceError if any is no number above 0."""
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(sizes) < 1:
        do = "give numbers of 1 or more, with commas between"
        raise ChoiceError(f"--batch {text}", "it is no list of sizes", do)
    return list(dict.fromkeys(sizes))


def _dense(found: Subject, weights: Path | None, name: str) -> tuple[nn.Module, bool]:
    """Return the network before it was pruned, and whether its weights are those it had."""
    from prunery.export.weights import load_weights_

    if found.dense is not None:
        return found.dense, True
    fresh = found.fresh()
    if weights is not None:
        load_weights_(fresh, weights, of=name)
    return fresh.eval(), weights is not None


def _example(found: Subject, batch: int) -> Any:
    """Return what the network is called with, of that many examples."""
    from prunery.export.program import batch_of, taken

    size = batch_of(found.example) or 1
    return taken(found.example, [number % size for number in range(batch)])


def _machine() -> dict[str, str]:
    import torch

    from prunery.machine import processor

    kernels = torch.backends.cpu.get_cpu_capability()
    return {"processor": processor(), "instructions": kernels, "torch": torch.__version__}


def _head(found: Subject, sizes: list[int], threads: int, rounds: int) -> str:
    machine = _machine()
    counted = f"; top-1 on {found.images}" if found.images else ""
    batch = " and ".join(map(str, sizes))
    return (
        f"{found.title}: batch {batch}, {threads} thread(s), {rounds} rounds in turns{counted}\n"
        f"{machine['processor']} ({machine['instructions']}), torch {machine['torch']}"
    )
