"""Layers: what is left of each one's weights and MACs, and histograms of the weights that are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from prunery.report.figures.chart import COLOURS, GREY, Figure, Rows, choice, coloured, data
from prunery.report.figures.points import rounded
from prunery.report.results.groups import Group, arms, measured
from prunery.report.results.study import Loaded
from prunery.report.text import formats
from prunery.report.text.layers import means

MOST_BINS = 240_000  # of histograms in one page
_KINDS = {"dense": GREY, "kept": COLOURS[0], "effective": COLOURS[2]}
_ROW = 22  # pixels of a layer


def figures(study: Loaded) -> list[Figure]:
    """Return density and MACs of each layer and the histograms of weights, as far as they were measured."""
    pruned = [g for g in study.groups if g.role == "pruned"]
    tables = [(group, table) for group in pruned if (table := _means(study, group))]
    made = [_density(study, tables), _macs(tables)] if tables else []
    histograms = _histograms(study, pruned)
    return [*made, *([_weights(histograms)] if histograms else [])]


def _means(study: Loaded, group: Group) -> Mapping[str, Mapping[str, float]]:
    """Return the counts of each layer, as means over the seeds that were measured."""
    records = [study.store.record(run.key) for run in measured(group) if study.store.has(run.key)]
    return means([table for record in records if (table := record.tables.get("layers"))])


def _density(study: Loaded, tables: Sequence[tuple[Group, Mapping[str, Mapping[str, float]]]]) -> Figure:
    rows = [
        {
            "method": group.method,
            "level": formats.percent(group.sparsity),
            "layer": name.removesuffix(".weight"),
            "left": rounded(100 * counts["params_kept"] / counts["params_dense"], 4),
        }
        for group, table in tables
        for name, counts in table.items()
        if counts["params_dense"]
    ]
    levels = [formats.percent(s) for s in sorted({group.sparsity for group, _ in tables})]
    layers = list(dict.fromkeys(str(row["layer"]) for row in rows))
    methods = arms([group for group, _ in tables], "pruned")
    about = "Weights left in each layer, in %, from input (top) to output; means over the measured seeds."
    draw = partial(_heat, rows, levels, layers, methods)
    return Figure("density", "Density of each layer", about, (draw,), {}, False, _ROW * len(layers) + 20)


def _heat(
    rows: Rows, levels: Sequence[str], layers: Sequence[str], methods: Sequence[str], show: bool
) -> Any:
    import altair as alt

    x = alt.X(
        "method:N",
        title=None,
        sort=list(methods),
        axis=alt.Axis(orient="top", labelAngle=-25, labelLimit=150),
    )
    y = alt.Y("layer:N", title=None, sort=list(layers), axis=alt.Axis(labelLimit=170))
    base = alt.Chart(data(rows)).transform_filter("datum.level == level").encode(x=x, y=y)
    scale = alt.Scale(type="symlog", constant=1, domain=[0, 100], range=["#d9e6f2", "#0b4f8a"])
    tips = [alt.Tooltip(f"{name}:N") for name in ("method", "level", "layer", "left")]
    colour = alt.Color("left:Q", title="% left", scale=scale, legend=None)
    cells = base.mark_rect().encode(color=colour, tooltip=tips)
    ink = alt.condition("datum.left > 12", alt.value("#ffffff"), alt.value("#222222"))
    text = base.mark_text(fontSize=10).encode(text=alt.Text("left:Q", format=".3~r"), color=ink)
    return alt.layer(cells, text).add_params(choice("level", "removed", levels, levels[len(levels) // 2]))


def _macs(tables: Sequence[tuple[Group, Mapping[str, Mapping[str, float]]]]) -> Figure:
    rows = [
        {
            "group": formats.label(group),
            "layer": name.removesuffix(".weight"),
            "series": kind,
            "macs": rounded(counts[f"macs_{kind}"]),
        }
        for group, table in tables
        for name, counts in table.items()
        for kind in _KINDS
    ]
    layers = list(dict.fromkeys(str(row["layer"]) for row in rows))
    about = "Multiply-accumulates per example: dense, of kept weights, and of those that a live path uses."
    draw = partial(_bars, rows, list(dict.fromkeys(str(row["group"]) for row in rows)), layers)
    return Figure("macs", "MACs of each layer", about, (draw,), _KINDS, False, 34 * len(layers) + 20)


def _bars(rows: Rows, groups: Sequence[str], layers: Sequence[str], show: bool) -> Any:
    import altair as alt

    y = alt.Y("layer:N", title=None, sort=list(layers), axis=alt.Axis(labelLimit=170))
    tips = [alt.Tooltip(f"{name}:N") for name in ("group", "layer", "series", "macs")]
    return (
        alt.Chart(data(rows))
        .transform_filter("datum.group == group")
        .mark_bar()
        .encode(
            x=alt.X("macs:Q", title="MACs per example", axis=alt.Axis(format="~s", tickCount=5)),
            y=y,
            yOffset=alt.YOffset("series:N", sort=list(_KINDS)),
            color=coloured(_KINDS, show),
            tooltip=tips,
        )
        .add_params(choice("group", "network", groups, groups[len(groups) // 2]))
    )


def _histograms(study: Loaded, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return a row for each layer of each group and seed: its ends and its counts, where there is room."""
    rows: list[dict[str, Any]] = []
    bins = 0
    for turn in range(max((len(group.runs) for group in groups), default=0)):
        for group in groups:
            runs = measured(group)
            record = study.store.record(runs[turn].key) if turn < len(runs) else None
            found = record.tables.get("histograms", []) if record else []
            bins += sum(len(row["counts"]) for row in found)
            if bins > MOST_BINS and rows:
                return rows
            name = f"{formats.label(group)}, seed {runs[turn].seed}" if found else ""
            rows += [_histogram(name, place, row) for place, row in enumerate(found)]
    return rows


def _histogram(network: str, place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    counts, most = row["counts"], max(row["counts"], default=0)
    heights = [round(60 * count / most) if most else 0 for count in counts]
    ends = {"low": rounded(row["low"], 4), "high": rounded(row["high"], 4)}
    return {
        "network": network,
        "layer": str(row["layer"]).removesuffix(".weight"),
        "row": place,
        **ends,
        "h": heights,
    }


def _weights(rows: list[dict[str, Any]]) -> Figure:
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    about = (
        "Histograms of the weights that are kept, a ridge a layer from input (top) to output, each scaled "
        "to its own highest bin."
    )
    draw = partial(_ridges, rows, list(dict.fromkeys(row["network"] for row in rows)), layers)
    return Figure("weights", "Kept weights of each layer", about, (draw,), {}, False, 30 * len(layers) + 40)


def _ridges(rows: Rows, networks: Sequence[str], layers: Sequence[str], show: bool) -> Any:
    import altair as alt

    names = json.dumps(list(layers))
    axis = alt.Axis(
        values=[-i for i in range(len(layers))], labelExpr=f"{names}[-datum.value]", labelLimit=170
    )
    across = "datum.low + (datum.bin + 0.5) * (datum.high - datum.low) / datum.bins"
    return (
        alt.Chart(data(rows))
        .transform_filter("datum.network == network")
        .transform_calculate(bin="sequence(0, length(datum.h))", bins="length(datum.h)")
        .transform_flatten(["h", "bin"])
        .transform_calculate(w=across, foot="-datum.row", top="-datum.row + 0.9 * datum.h / 60")
        .mark_area(color=COLOURS[0], opacity=0.75, interpolate="step")
        .encode(
            x=alt.X("w:Q", title="weight"),
            y=alt.Y("foot:Q", title=None, axis=axis),
            y2="top:Q",
            detail="layer:N",
        )
        .add_params(choice("network", "network", networks, networks[0]))
    )
