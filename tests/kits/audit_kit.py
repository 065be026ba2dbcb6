"""Tables as text for the tests of `audit`."""

from __future__ import annotations

from prunery.audit.findings import Finding
from prunery.audit.run import Audit, audit

HEADER = "report,table,dataset,model,method,schedule,recovery,sparsity,metric,value"


def audited(folder, text: str, name: str = "table.csv", claims: str | None = None) -> Audit:
    """The audit of a table given as text, leading blanks of its lines removed."""
    table = folder / name
    table.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n")
    if claims is None:
        return audit(table)
    claims_file = folder / "claims.md"
    claims_file.write_text(claims)
    return audit(table, claims=claims_file)


def named(done: Audit, check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in done.findings if finding.check == check]


def lines(done: Audit, check: str) -> set[int]:
    """The lines that one check found."""
    return {line for finding in named(done, check) for line in finding.lines}
