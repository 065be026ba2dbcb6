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
    from prunery.export.container import load
    from prunery.export.plain import write_plain

    state = load(file)
    write_plain(state, out)
    say_plain(f"{out}: {len(state)} tensors, {out.stat().st_size:,} bytes ({file}: {file.stat().st_size:,})")
    return 0
