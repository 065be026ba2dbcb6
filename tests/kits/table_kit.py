"""Tables of small studies, and their cells."""

from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import tables


def right(cell):
    """Dense 98.00, 98.10, 98.20; pruned cells lose with sparsity, random ten times as much."""
    lost = {0.5: 10, 0.9: 50, 0.95: 100, 0.98: 200, 0.99: 400}.get(cell.sparsity, 0) * (
        10 if cell.method == "random" else 1
    )
    return 9800 + 10 * cell.seed - lost


def built(plan, store):
    table = frame(plan, store)
    grouped = groups_of(table)
    return table, grouped, tables.accuracy(table, grouped)


def cell(table, method, column):
    """The text of one cell."""
    (row,) = [r for r in table.rows if r[0] == method]
    return row[table.header.index(column)]
