"""`prunery unpack`: a plain safetensors file of a model that `prunery.save` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunery.cli.options import say_plain

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A file that prunery.save wrote.")]
OutOption = Annotated[Path, typer.Option("-o", "--out", help="The safetensors file to be written.")]


def unpack(file: FileArgument, out: OutOption = Path("model.safetensors")) -> int:
    """Write the weights of a saved model as a plain safetensors file, which needs no prunery."""
    from safetensors.torch import save

    from prunery import atomic
    from prunery.export.container import load

    state = load(file)
    tensors = {}
    first: dict[int, str] = {}
    for name, tensor in state.items():
        first.setdefault(id(tensor), name)
        tensors[name] = tensor if first[id(tensor)] == name else tensor.clone()
    atomic.atomic_write(out, save(tensors, metadata={"format": "pt"}))
    say_plain(
        f"{out}: {len(tensors)} tensors, {out.stat().st_size:,} bytes ({file}: {file.stat().st_size:,})"
    )
    return 0
