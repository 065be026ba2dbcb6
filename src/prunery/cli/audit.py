"""The command that checks anyone's results table: `audit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.options import say_plain

if TYPE_CHECKING:
    from prunery.audit.run import Audit


def audit(
    table: Annotated[str, typer.Argument(metavar="TABLE.csv", help="A results table, one header line.")],
    claims: Annotated[
        str | None,
        typer.Option("--claims", metavar="FILE", help="A text whose claims the table must bear out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Check a results table, anyone's: chance, impossible values, misprints, sums, unfair comparisons.

    No model is needed. Exit status 0: nothing found; 1: something; 2: no table.
    """
    from prunery.audit.run import audit as audited

    done = audited(Path(table), claims=Path(claims) if claims else None)
    plain = _plain(done, table)
    say_plain(json.dumps(plain, ensure_ascii=False, indent=1) if as_json else _text(done, table))
    return int(bool(done.findings))


def _text(done: Audit, table: str) -> str:
    lines = [str(finding) for finding in done.findings]
    lines += [f"not checked, claims line {u.line}: {u.text}" for u in done.unchecked]
    return "\n".join([*lines, _summary(done, table)])


def _summary(done: Audit, table: str) -> str:
    """Return what was read, what was not, and how much was found, as one line."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in done.read().items())
    unread = f"; columns not read: {', '.join(done.sheet.unread)}" if done.sheet.unread else ""
    number = len(done.findings)
    verdict = "nothing found" if not number else f"{number} finding{'s' if number > 1 else ''}"
    return f"{table}: {len(done.sheet.rows)} rows, values: {kinds}{unread}. {verdict[0].upper()}{verdict[1:]}"


def _plain(done: Audit, table: str) -> dict[str, Any]:
    return {
        "table": table,
        "rows": len(done.sheet.rows),
        "read": done.read(),
        "not_read": list(done.sheet.unread),
        "findings": [finding.plain() for finding in done.findings],
        "not_checked": [{"line": u.line, "text": u.text} for u in done.unchecked],
    }
