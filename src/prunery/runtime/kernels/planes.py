"""Kernels that copy planes of activations, split them into the phases of a stride, or pool them."""

from __future__ import annotations

from dataclasses import dataclass

from prunery.runtime.kernels.product import constant
from prunery.runtime.kernels.text import Emitter, Fields, Value, vector, zeros

FIELDS = ("p_input", "p_output")
LOWEST = float("-inf")


@dataclass(frozen=True)
class Plane:
    """A plane's place in a buffer, in floats: see `Geometry`."""

    height: int
    width: int
    pitch: int
    lead: int
    size: int
    lanes: int = 1


@dataclass(frozen=True)
class Phases:
    """Every stride-th row and column as planes of their own. An item is a channel of an image."""

    given: Plane
    made: Plane
    stride: int


@dataclass(frozen=True)
class Copy:
    """Planes of one size in another place. An item is a channel of an image, `channels` to an image."""

    given: Plane
    made: Plane
    channels: int


@dataclass(frozen=True)
class MaxPool:
    """The largest value of windows. An item is a channel of an image (of 16 images, in lanes)."""

    given: Plane
    made: Plane
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


def source(spec: Phases | MaxPool | Copy) -> str:
    """Return the kernel's text: `run(table, first item, end)`."""
    code = Emitter("run", [("ptr", "%table"), ("i64", "%begin"), ("i64", "%end")])
    fields = Fields(code, FIELDS)
    times = spec.stride**2 if isinstance(spec, Phases) else 1
    with code.loop("%begin", "%end") as item:
        given = code.at(fields["p_input"], _start(code, item, spec.given))
        made = code.at(fields["p_output"], _start(code, code.mul(item, times), spec.made))
        if isinstance(spec, Copy):
            _copy(code, spec, fields, item)
        elif isinstance(spec, Phases):
            _phases(code, spec, given, made)
        elif spec.given.lanes > 1:
            _pool_lanes(code, spec, given, made)
        else:
            _pool(code, spec, given, made)
    return code.text()


def _start(code: Emitter, item: Value, plane: Plane) -> Value:
    return code.add(code.mul(item, plane.size * plane.lanes), plane.lead * plane.lanes)


def _copy(code: Emitter, spec: Copy, fields: Fields, item: Value) -> None:
    wide, narrow, rows, floats = spec.given, spec.made, spec.given.height, spec.given.width
    if wide.pitch == narrow.pitch == floats:
        rows, floats = 1, rows * floats
    places = []
    for plane, pointer in ((wide, fields["p_input"]), (narrow, fields["p_output"])):
        image, channel = code.div(item, spec.channels)
        start = _start(code, item if plane.lanes == 1 else channel, plane)
        places.append(code.at(pointer, start if plane.lanes == 1 else code.add(start, image)))
    with code.loop(0, rows) as row:
        starts = [code.mul(row, plane.pitch * plane.lanes) for plane in (wide, narrow)]
        source, target = (code.at(place, start) for place, start in zip(places, starts, strict=True))
        if wide.lanes == narrow.lanes == 1:
            code.move(source, target, 4 * floats)
        else:
            with code.loop(0, floats) as column:
                value = code.load("float", code.at(source, code.mul(column, wide.lanes)))
                code.store("float", value, code.at(target, code.mul(column, narrow.lanes)))


def _phases(code: Emitter, spec: Phases, given: Value, made: Value) -> None:
    s, wide, narrow = spec.stride, spec.given, spec.made
    for phase in range(s):
        count = -(-(wide.height - phase) // s)
        with code.loop(0, count) as row:
            line_start = code.add(code.mul(row, s * wide.pitch), phase * wide.pitch)
            line = code.load(vector(wide.pitch), code.at(given, line_start))
            for column in range(s):
                to = code.add(code.mul(row, narrow.pitch), (phase * s + column) * narrow.size)
                order = [j * s + column for j in range(narrow.pitch)]
                order = [i if i < wide.width else wide.pitch for i in order]
                picked = _pick(code, line, zeros(wide.pitch), order, wide.pitch)
                _write(code, picked, code.at(made, to), narrow.pitch)
        for row_beyond in range(count, narrow.height):
            for column in range(s):
                to_row = row_beyond * narrow.pitch + (phase * s + column) * narrow.size
                _write(code, zeros(narrow.pitch), code.at(made, to_row), narrow.pitch)


def _pick(code: Emitter, line: Value, other: Value, order: list[int], lanes: int) -> Value:
    if lanes == 1:
        return line if order[0] == 0 else other
    picked = code.shuffle(line, other, order, lanes)
    return code.do(f"extractelement <1 x float> {picked}, i64 0") if len(order) == 1 else picked


def _write(code: Emitter, value: Value, to: Value, lanes: int) -> None:
    code.store(vector(lanes), value, to)


def _greater(code: Emitter, a: Value, b: Value, lanes: int) -> Value:
    """The greater of two; NaN if either is."""
    kind = vector(lanes)
    larger = code.do(f"fcmp ogt {kind} {a}, {b}")
    nan = code.do(f"fcmp uno {kind} {a}, {a}")
    choice = "i1" if lanes == 1 else f"<{lanes} x i1>"
    either = code.do(f"or {choice} {larger}, {nan}")
    return code.do(f"select {choice} {either}, {kind} {a}, {kind} {b}")


def _pool(code: Emitter, spec: MaxPool, given: Value, made: Value) -> None:
    lanes, wide, narrow = spec.given.pitch, spec.given, spec.made
    lowest = constant([LOWEST] * lanes)
    best = code.slot(vector(lanes))
    with code.loop(0, narrow.height) as row:
        code.store(vector(lanes), lowest, best, 64)
        top = code.sub(code.mul(row, spec.stride[0]), spec.padding[0])
        begin = code.call("i64", "llvm.smax.i64", ("i64", top), ("i64", "0"))
        end = code.minimum(code.add(top, spec.kernel[0]), wide.height)
        with code.loop(begin, end) as y:
            line = code.load(vector(lanes), code.at(given, code.mul(y, wide.pitch)))
            code.store(
                vector(lanes), _greater(code, line, code.load(vector(lanes), best, 64), lanes), best, 64
            )
        total = ""
        for column in range(spec.kernel[1]):
            order = [j * spec.stride[1] - spec.padding[1] + column for j in range(narrow.pitch)]
            order = [i if 0 <= i < wide.width and j < narrow.width else lanes for j, i in enumerate(order)]
            part = _pick(code, code.load(vector(lanes), best, 64), lowest, order, lanes)
            total = _greater(code, total, part, narrow.pitch) if total else part
        if narrow.width < narrow.pitch:
            order = [j if j < narrow.width else narrow.pitch for j in range(narrow.pitch)]
            total = code.shuffle(total, "zeroinitializer", order, narrow.pitch)
        _write(code, total, code.at(made, code.mul(row, narrow.pitch)), narrow.pitch)


def _pool_lanes(code: Emitter, spec: MaxPool, given: Value, made: Value) -> None:
    lanes, kind = spec.given.lanes, vector(spec.given.lanes)
    best = code.slot(kind)
    with code.loop(0, spec.made.height) as row, code.loop(0, spec.made.width) as column:
        code.store(kind, constant([LOWEST] * lanes), best, 64)
        limits = []
        for index, position, size in ((0, row, spec.given.height), (1, column, spec.given.width)):
            first = code.sub(code.mul(position, spec.stride[index]), spec.padding[index])
            begin = code.call("i64", "llvm.smax.i64", ("i64", first), ("i64", "0"))
            limits.append((begin, code.minimum(code.add(first, spec.kernel[index]), size)))
        with code.loop(*limits[0]) as y, code.loop(*limits[1]) as x:
            at = code.mul(code.add(code.mul(y, spec.given.pitch), x), lanes)
            value = code.load(kind, code.at(given, at))
            code.store(kind, _greater(code, value, code.load(kind, best, 64), lanes), best, 64)
        to = code.mul(code.add(code.mul(row, spec.made.pitch), column), lanes)
        _write(code, code.load(kind, best, 64), code.at(made, to), lanes)
