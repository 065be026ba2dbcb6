"""The transpose of a matrix: rows of samples to rows of features, or back. An item is a band of rows."""

from __future__ import annotations

from prunery.runtime.kernels.text import Emitter, Fields, Value, vector

FIELDS = ("p_input", "p_output", "rows", "columns", "input_pitch", "output_pitch")


def source(lanes: int) -> str:
    """Return the kernel's text: `run(table, first item, end)`, in blocks of lanes x lanes floats."""
    code = Emitter("run", [("ptr", "%table"), ("i64", "%begin"), ("i64", "%end")])
    fields = Fields(code, FIELDS)
    whole = code.mul(code.div(fields["columns"], lanes)[0], lanes)
    with code.loop("%begin", "%end") as item:
        top = code.mul(item, lanes)
        bottom = code.minimum(code.add(top, lanes), fields["rows"])
        complete = code.do(f"icmp eq i64 {code.sub(bottom, top)}, {lanes}")
        done = code.slot("i64")
        code.act(f"store i64 0, ptr {done}")
        with code.when(complete):
            with code.loop(0, whole, lanes) as left:
                _block(code, fields, top, left, lanes)
            code.act(f"store i64 {whole}, ptr {done}")
        first = code.do(f"load i64, ptr {done}")
        with code.loop(top, bottom) as row, code.loop(first, fields["columns"]) as column:
            at = code.add(code.mul(row, fields["input_pitch"]), column)
            to = code.add(code.mul(column, fields["output_pitch"]), row)
            value = code.load("float", code.at(fields["p_input"], at))
            code.store("float", value, code.at(fields["p_output"], to))
    return code.text()


def _block(code: Emitter, fields: Fields, top: Value, left: Value, lanes: int) -> None:
    kind = vector(lanes)
    start = code.at(fields["p_input"], code.add(code.mul(top, fields["input_pitch"]), left))
    rows = [code.load(kind, code.at(start, code.mul(fields["input_pitch"], index))) for index in range(lanes)]
    to = code.at(fields["p_output"], code.add(code.mul(left, fields["output_pitch"]), top))
    for index, row in enumerate(transposed(code, rows)):
        code.store(kind, row, code.at(to, code.mul(fields["output_pitch"], index)))


def transposed(code: Emitter, rows: list[Value]) -> list[Value]:
    """Return the columns of a square block of vectors: halves, then quarters and so on change places."""
    lanes, rows = len(rows), list(rows)
    distance = lanes // 2
    while distance:
        for i in range(lanes):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                low = [j if not j & distance else lanes + j - distance for j in range(lanes)]
                high = [j + distance if not j & distance else lanes + j for j in range(lanes)]
                rows[i], rows[i + distance] = code.shuffle(a, b, low, lanes), code.shuffle(a, b, high, lanes)
        distance //= 2
    return rows
