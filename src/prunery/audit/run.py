"""All checks over one table: `audit`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prunery.audit.checks import (
    bounds,
    costs,
    curves,
    derived,
    differences,
    fairness,
    ratios,
    repeats,
    spreads,
    sums,
    values,
)
from prunery.audit.claims import claims as claims_
from prunery.audit.findings import CHECKS, Finding
from prunery.audit.table.read import read
from prunery.audit.table.sheet import Sheet

# importing a family enters its checks
FAMILIES = (values, costs, curves, repeats, derived, differences, sums, fairness, spreads, ratios, bounds)


@dataclass(frozen=True)
class Audit:
    """What was read, what is odd about it, and which sentences no check understood."""

    sheet: Sheet
    findings: tuple[Finding, ...]
    unchecked: tuple[claims_.Unchecked, ...] = ()

    def read(self) -> dict[str, int]:
        """Return how many numbers were read, by kind of measured number."""
        return dict(Counter(entry.kind for entry in self.sheet.entries).most_common())


def audit(path: Path, *, claims: Path | None = None) -> Audit:
    """Return the findings of every check of a table file, by line, then those of the claims in a text."""
    sheet, ragged = read(path)
    findings = [f for name in CHECKS for f in CHECKS[name].function(sheet)]
    findings += [_ragged(line, cells, len(sheet.columns)) for line, cells in ragged]
    ordered = sorted(_strongest(findings), key=lambda f: (f.lines, f.check))
    claim_findings, unchecked = claims_.check(sheet, claims) if claims else ([], [])
    return Audit(sheet, (*ordered, *claim_findings), tuple(unchecked))


def _ragged(line: int, cells: int, columns: int) -> Finding:
    return Finding("ragged", (line,), "", "", f"{cells} cells under {columns} columns; the line was not read")


def _strongest(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings without those of weak checks on cells that another check explains."""
    weak = {name for name in CHECKS if CHECKS[name].facts.get("weak")}
    explained = {(f.lines, f.column) for f in findings if f.check not in weak}
    collapsed = {f.lines for f in findings if f.check == "chance"}
    return [
        f
        for f in findings
        if f.check not in weak or not ((f.lines, f.column) in explained or f.lines in collapsed)
    ]
