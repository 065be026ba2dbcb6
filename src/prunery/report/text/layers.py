"""What is left of each layer, as rows for a CSV: weights and MACs of every method at every sparsity."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunery.report.results.groups import Group
from prunery.report.text import formats

if TYPE_CHECKING:
    from prunery.report.results.cell_records import Records

COUNTS = tuple(f"{what}_{kind}" for what in ("params", "macs") for kind in ("dense", "kept", "effective"))
TOTAL = "all layers"
Layers = Sequence[Mapping[str, Any]]


def rows(groups: Sequence[Group], records: Records) -> list[dict[str, str]]:
    """Return a row per group and layer, and one for all layers: means over the n seeds that were measured.

    Collapsed networks are among them: what is left of a network does not depend on what it learnt.
    """
    return [row for group in groups for row in _of_group(group, _measured(group, records))]


def _measured(group: Group, records: Records) -> list[Layers]:
    """Return the layers of each network of the group that was measured."""
    tables = (records.record(run.key).tables.get("layers") for run in group.runs if records.has(run.key))
    return [table for table in tables if table]


def means(networks: Sequence[Layers]) -> dict[str, dict[str, float]]:
    """Return each count of each layer of the first network, over the networks that have such a layer."""
    by_name = [{str(layer["name"]): layer for layer in layers} for layers in networks]
    return {
        name: {c: statistics.fmean(n[name][c] for n in by_name if name in n) for c in COUNTS}
        for name in (by_name[0] if by_name else ())
    }


def _of_group(group: Group, networks: Sequence[Layers]) -> Iterator[dict[str, str]]:
    if not networks:
        return
    about = {"method": group.method, "role": group.role, "sparsity_requested": formats.plain(group.sparsity)}
    by_layer = means(networks)
    whole = {c: sum(counts[c] for counts in by_layer.values()) for c in COUNTS}
    for layer, counts in [*by_layer.items(), (TOTAL, whole)]:
        yield _row(about, layer, len(networks), counts)


def _row(about: Mapping[str, str], layer: str, n: int, counts: Mapping[str, float]) -> dict[str, str]:
    values = {c: formats.plain(value, 2) for c, value in counts.items()}
    shares = {"density": _share(counts, "params"), "macs_fraction": _share(counts, "macs")}
    return {**about, "layer": layer, "n": str(n), **values, **shares}


def _share(counts: Mapping[str, float], what: str) -> str:
    """Return what is kept of the dense layer; empty where that has none."""
    whole = counts[f"{what}_dense"]
    return formats.plain(counts[f"{what}_kept"] / whole) if whole else ""
