"""The catalogue of columns: each is declared once, and CSV, tables, page and figures read it here.

A column of a user's own is a row of the registry `column`, a function from a `CellRecords` to a number, or to
None where there is none; a report is told of it as `module:row` (`user_columns` reads it):

    @column.add(label="Gap: train minus test top-1", unit="points", decimals=2, better="lower")
    def gap(cell):
        return cell.value("top1", "train") - cell.value("top1", "test")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from prunery.registry import Registry
from prunery.report.results.cell_records import CellRecords, value_of

if TYPE_CHECKING:
    import pandas as pd

    from prunery.lab.plan import Plan

column = Registry("column")
"""Columns of a user's own; a row's facts are fields of `Column`."""

AXES = ("criterion", "granularity", "scope", "schedule")
SPLITS = ("test", "validation", "train")
BYTES = ("dense", "masked", "masked_memory", "zipped", "sparse", "saved")
OWN, COST, ACCURACY = ("own",), ("cost",), ("accuracy",)
Read = Callable[[CellRecords], Any]


@dataclass(frozen=True)
class Column:
    """A column: where its values come from, how they are written, and where they are shown.

    read: from a cell's records to its value. dtype: of its values in a frame. label: its name in words.
    k, split: of an accuracy. per_image: one image of the test split more or less changes it by 100 / images.
    better: "higher", "lower" or "none". tables: "own" is a table of its own, "cost" the table of costs,
    under `head` and divided by `scale`. figures: the page's "accuracy", or "cost" as an axis across. rank:
    what a table or figure shows is sorted by it, then by the catalogue. csv: whether it stands in cells.csv;
    summary: whether its mean stands in summary.csv.
    """

    name: str
    read: Read
    dtype: str = "float64"
    label: str = ""
    unit: str = ""
    decimals: int = 3
    better: str = "none"
    k: int | None = None
    split: str | None = None
    per_image: bool = False
    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    rank: int = 0
    head: str = ""
    scale: float = 1
    csv: bool = True
    summary: bool = False

    @property
    def words(self) -> str:
        """Return its name within a sentence: `top-1 accuracy`."""
        return self.label[:1].lower() + self.label[1:].partition(" (")[0]

    def chance(self, row: Mapping[str, Any]) -> float | None:
        """Return what guessing gives, in this unit: k of C classes, or ln C nats; None if it is not known."""
        if self.k is not None:
            return _number(row.get(f"chance_top{self.k}"))
        one = _number(row.get("chance_top1"))
        return math.log(100 / one) if one and self.unit == "nats" else None


def shown(columns: Iterable[Column], *, table: str = "", figure: str = "") -> list[Column]:
    """Return the columns that a table or figure shows, in its order."""
    return sorted((c for c in columns if table in c.tables or figure in c.figures), key=lambda c: c.rank)


def recorded(frame: pd.DataFrame, columns: Sequence[Column]) -> list[Column]:
    """Return the columns with a table of their own of which some cell of the frame has a value."""
    return [c for c in shown(columns, table="own") if c.name in frame and bool(frame[c.name].notna().any())]


def columns_of_rungs(plan: Plan) -> tuple[Column, ...]:
    """Return the columns of what each action of a recovery but the last one leaves; () for single actions."""
    return tuple(map(_after, dict.fromkeys(action for cell in plan.cells for action, _ in cell.rungs)))


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not math.isnan(value)
    return float(value) if known else None


_TOP1, _LATENCY = "Top-1 accuracy (k = 1)", "latency: seconds to read the test split"


def _text(name: str, read: Read) -> Column:
    return Column(name, read, "object")


def _count(name: str, read: Read, unit: str = "", **about: Any) -> Column:
    return Column(name, read, "Int64", unit=unit, decimals=0, **about)


def _measured(name: str, unit: str, **about: Any) -> Column:
    """Return the column of a count in a measure record."""
    return _count(name, lambda cell: cell.value(name), unit, **about)


def _spent(name: str, unit: str, *, dtype: str = "float64", decimals: int = 0, **about: Any) -> Column:
    """Return the column of a cost that is summed along the path."""
    return Column(name, lambda cell: cell.spent(name), dtype, unit=unit, decimals=decimals, **about)


def _accuracy(name: str, read: Read, label: str, **about: Any) -> Column:
    return Column(name, read, label=label, unit="%", decimals=2, **{"better": "higher", **about})


def _top1(name: str, read: Read, split: str, label: str = _TOP1, **about: Any) -> Column:
    return _accuracy(name, read, label, k=1, split=split, per_image=split == "test", **about)


def _on(split: str) -> Iterator[Column]:
    """Return the columns of what is measured on one split; only those of test have tables and figures."""

    def read(name: str) -> Read:
        return lambda cell: cell.value(name, split)

    test = split == "test"
    about: dict[str, Any] = {"split": split, "tables": OWN if test else ()}
    figures = ACCURACY if test else ()
    superclass = "Superclass accuracy (that of the predicted class)"
    top5: dict[str, Any] = {"k": 5, "per_image": test, "figures": figures}
    loss: dict[str, Any] = {"label": "Loss (mean cross-entropy)", "unit": "nats", "better": "lower"}
    yield _top1(f"{split}_top1", read("top1"), split, figures=figures)
    yield _accuracy(f"{split}_top5", read("top5"), "Top-5 accuracy (k = 5)", **top5, **about)
    yield _accuracy(f"{split}_superclass_top1", read("superclass_top1"), superclass, **about)
    yield Column(f"{split}_loss", read("loss"), rank=1, **loss, **about)


def _before(split: str) -> Column:
    """Return the column of the network as its last cut left it."""
    return _top1(f"before_{split}_top1", lambda cell: value_of(cell.before, "top1", split), split)


def _after(action: str) -> Column:
    """Return the column of the network as an action of its recovery, not the last one, left it."""
    label = f"Top-1 accuracy after {action}, before the rest of the recovery (k = 1)"

    def read(cell: CellRecords) -> float | None:
        return value_of(cell.rungs.get(action), "top1", "test")

    return _top1(f"after_{action}_test_top1", read, "test", label, tables=OWN, rank=3)


def _chance(k: int) -> Column:
    def read(cell: CellRecords) -> float | None:
        number = cell.number(f"top{k}", "test")
        return number.chance if number else None

    return Column(f"chance_top{k}", read, unit="%", decimals=2)


def _of_task(name: str) -> Column:
    """Return the column of a number that the measure step was asked for."""
    return _count(name, lambda cell: cell.steps[-1].args.get(name, 1 if name == "threads" else None))


def _images(cell: CellRecords) -> int | None:
    number = cell.number("top1", "test")
    return number.total if number else None


def _seconds_test(cell: CellRecords) -> float | None:
    return cell.measured.cost.get("seconds_test") if cell.measured else None


def _share_of_macs(cell: CellRecords) -> float | None:
    kept, whole = cell.value("macs_kept"), cell.value("macs_dense")
    return kept / whole if kept is not None and whole else None


def _millions_of_macs(cell: CellRecords) -> float | None:
    kept = cell.value("macs_kept")
    return None if kept is None else kept / 1e6


_CUT_OUT: dict[str, Any] = {"tables": OWN, "rank": 4, "better": "lower"}
COLUMNS: tuple[Column, ...] = (
    _text("study", attrgetter("study")),
    _text("model", lambda cell: cell.steps[0].args["model"]),
    _text("data", lambda cell: cell.steps[0].args["data"]),
    *(_text(name, attrgetter(f"cell.{name}")) for name in ("method", "role", "of", "arm")),
    *(_text(axis, partial(CellRecords.choice, axis=axis)) for axis in AXES),
    _text("recovery", attrgetter("recovery")),
    Column("sparsity_requested", attrgetter("cell.sparsity")),
    Column("sparsity_achieved", lambda cell: cell.achieved("sparsity_achieved")),
    _count("kept", lambda cell: cell.achieved("kept"), "weights"),
    _count("total", lambda cell: cell.achieved("total"), "weights"),
    _count("seed", attrgetter("cell.seed")),
    *(each for split in SPLITS for each in _on(split)),
    *map(_chance, (1, 5)),
    _accuracy(
        "test_corrupted_top1",
        lambda cell: cell.value("corrupted_top1", "test"),
        "Top-1 accuracy under corruption (mean of all)",
        k=1,
        split="test",
        tables=OWN,
    ),
    _count("test_images", _images, "images"),
    _measured("macs_dense", "MACs"),
    _measured("macs_kept", "MACs", head="MACs kept"),
    _measured(
        "macs_effective",
        "MACs",
        head="MACs effective",
        label="MACs per example that are left",
        figures=COST,
        rank=3,
    ),
    _measured("params_dense", "weights"),
    _measured("params_kept", "weights", head="weights kept"),
    _measured(
        "params_effective",
        "weights",
        head="weights effective",
        label="weights that are left",
        figures=COST,
        rank=3,
    ),
    *(_measured(f"bytes_{kind}", "bytes") for kind in BYTES),
    _measured("params_compact", "parameters", label="Parameters once removed units are cut out", **_CUT_OUT),
    _measured("macs_compact", "MACs", label="MACs per example once removed units are cut out", **_CUT_OUT),
    _measured(
        "bytes_compact", "bytes", label="Bytes once removed units are cut out", figures=COST, **_CUT_OUT
    ),
    _count(
        "epochs_before", partial(CellRecords.epochs, before=True), "epochs", head="epochs before", tables=COST
    ),
    _count("epochs_after", partial(CellRecords.epochs, before=False), "epochs", head="after", tables=COST),
    _spent("epochs", "epochs", dtype="Int64", label="training epochs", figures=COST, rank=1),
    _spent("samples", "samples", dtype="Int64", head="M samples", scale=1e6, tables=COST),
    _spent(
        "training_macs",
        "MACs",
        label="training MACs",
        head="training GMACs",
        scale=1e9,
        tables=COST,
        figures=COST,
    ),
    _spent("scoring_macs", "MACs", head="scoring GMACs", scale=1e9, tables=COST),
    _spent("seconds", "s", decimals=3, label="seconds of work", figures=COST, rank=2),
    _top1(
        "test_top1_max",
        attrgetter("top1_max"),
        "test",
        "Best top-1 of any epoch, chosen on test: no result",
        better="none",
        tables=OWN,
        rank=2,
    ),
    Column("seconds_test", _seconds_test, label=_LATENCY, unit="s", figures=COST, rank=4),
    _text("status", lambda cell: cell.ending[0]),
    _text("notes", lambda cell: cell.ending[1]),
    _text("key", attrgetter("cell.key")),
    *(_text(f"{name}_key", attrgetter(f"cell.{name}")) for name in ("dense", "extra", "before")),
    *map(_before, SPLITS),
    _count("cuts", attrgetter("cuts_made")),
    _text("at", attrgetter("place")),
    Column("floor", lambda cell: cell.cuts[-1].args.get("floor", 0.0) if cell.cuts else None),
    *(_text(name, partial(CellRecords.setting, name=name)) for name in ("optimizer", "precision")),
    Column("learning_rate", lambda cell: cell.training("learning_rate")),
    _count("batch", lambda cell: cell.training("batch"), "images"),
    *map(_of_task, ("images", "classes", "threads")),
    _text("device", attrgetter("device")),
    Column("pretrained", attrgetter("pretrained"), "object", csv=False),
    Column("train_rise", lambda cell: cell.movement[0], unit="points per epoch"),
    Column("train_fall", lambda cell: cell.movement[1], unit="nats per epoch"),
    Column("macs_fraction", _share_of_macs, label="share of the MACs kept", decimals=4, csv=False),
    Column("macs_millions", _millions_of_macs, label="MACs kept", unit="millions", decimals=1, csv=False),
)

NAMED = {each.name: each for each in COLUMNS}
TOP1, TOP5, LOSS = (NAMED[f"test_{name}"] for name in ("top1", "top5", "loss"))
BEST_ON_TEST = NAMED["test_top1_max"]
