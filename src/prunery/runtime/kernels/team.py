"""The function that runs a list of kernels: alone, or as one of a team that meets after each.

The list is rows of three numbers: address of the function, address of its table, number of items.
"""

from __future__ import annotations

from prunery.runtime.kernels.text import Emitter

WIDTH = 3


def source(threads: bool) -> str:
    """Return `run(job)`: job is count, list, and the functions for number, size and barrier of the team."""
    code = Emitter("run", [("ptr", "%job")])
    count = code.load("i64", "%job", 8)
    rows = code.do(f"inttoptr i64 {code.load('i64', code.at('%job', 1, 'i64'), 8)} to ptr")
    member, size, barrier = "0", "1", ""
    if threads:
        asked = [
            code.do(f"inttoptr i64 {code.load('i64', code.at('%job', i, 'i64'), 8)} to ptr")
            for i in (2, 3, 4)
        ]
        member, size = (code.do(f"sext i32 {code.do(f'call i32 {f}()')} to i64") for f in asked[:2])
        barrier = asked[2]
    with code.loop(0, count) as index:
        row = code.at(rows, code.mul(index, WIDTH), "i64")
        run, table, items = (code.load("i64", code.at(row, i, "i64"), 8) for i in range(3))
        begin = code.div(code.mul(items, member), size)[0]
        end = code.div(code.mul(items, code.add(member, 1)), size)[0]
        function, given = (code.do(f"inttoptr i64 {v} to ptr") for v in (run, table))
        code.act(f"call void {function}(ptr {given}, i64 {begin}, i64 {end})")
        if threads:
            code.act(f"call void {barrier}()")
    return code.text()
