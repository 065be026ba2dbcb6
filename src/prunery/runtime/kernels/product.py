"""The sparse product: a convolution or a linear layer, as the sum of weights times shifted vectors of input.

    for item (image, strip, group of output channels):
        for block of input channels:
            for output channel in the group:
                sums[p] = 0
                for tap in taps:                          # a static pattern of shifts
                    for nonzero of (block, channel, tap):
                        sums[p] += value * input[strip + offset + displacement(tap, p)]
                    moved sideways within their rows by the tap's shift
                sums += bias + residual (first block) or what is in the output already (later ones)
                activation and mask (last block); store

The sums of a strip stay in registers while the nonzeros of one output channel pass; the block of input
channels is as large as fits the first cache. Published relatives: direct sparse convolution (Park et al.
2017, arXiv 1608.01409), Elsen et al. 2020 (arXiv 1911.09723). That sums are moved sideways, once a channel,
and not the input, is ours: every load of it is aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

from prunery.runtime.kernels.text import Emitter, Fields, Value, vector, zeros

FIELDS = (
    "p_input",
    "p_output",
    "p_starts",  # int32: the first nonzero of each (block, channel, tap), and the end
    "p_offsets",  # uint16: where a nonzero's input lies, in units, relative to its block
    "p_values",  # float32
    "p_bias",
    "p_residual",
    "blocks",
    "block_bytes",  # between blocks of input
    "channels",  # of the output
    "channel_stride",  # floats, of the output
    "strips",
    "p_from",  # int32: where strips start in the input, floats
    "p_to",  # int32: where they start in the output
    "input_stride",  # floats between images
    "output_stride",
    "p_residual_to",  # int32: where strips start in the residual
    "residual_channel_stride",
    "residual_stride",
    "group",  # output channels an item
    "groups",
)


@dataclass(frozen=True)
class Tap:
    """Nonzeros that share a pattern. parts: (sum, displacement of its input in floats)."""

    parts: tuple[tuple[int, int], ...]
    shift: int = 0  # the sum at column j counts for column j - shift
    unroll: int = 1


@dataclass(frozen=True)
class Product:
    """Everything about a kernel that is compiled into it."""

    lanes: int  # floats of a vector
    stores: tuple[int, ...]  # displacement in the output of each sum, floats
    masks: tuple[int, ...]  # for each sum, bit i: lane i is kept; -1: all
    taps: tuple[Tap, ...]
    row: int  # floats of a row of the strip; sums are consecutive vectors of such rows
    unit: int  # bytes of an offset's step
    low: float | None = None  # the activation: values are clamped between low and high
    high: float | None = None
    residual: bool = False


def source(spec: Product) -> str:
    """Return the kernel's text: `run(table, first item, end)`."""
    code = Emitter("run", [("ptr", "%table"), ("i64", "%begin"), ("i64", "%end")])
    fields = Fields(code, FIELDS)
    last_block = code.sub(fields["blocks"], 1)
    with code.loop("%begin", "%end") as item:
        rest, group = code.div(item, fields["groups"])
        image, strip = code.div(rest, fields["strips"])
        start = code.add(
            code.integer("i32", fields["p_from"], strip), code.mul(image, fields["input_stride"])
        )
        to = code.integer("i32", fields["p_to"], strip)
        given = code.at(fields["p_input"], start)
        output = code.at(fields["p_output"], code.add(to, code.mul(image, fields["output_stride"])))
        beside = code.integer("i32", fields["p_residual_to"], strip)
        beside = code.add(beside, code.mul(image, fields["residual_stride"]))
        residual = code.at(fields["p_residual"], beside)
        first = code.mul(group, fields["group"])
        end = code.minimum(code.add(first, fields["group"]), fields["channels"])
        with code.loop(0, fields["blocks"]) as block:
            block_input = code.at(given, code.mul(block, fields["block_bytes"]), "i8")
            is_first = code.do(f"icmp eq i64 {block}, 0")
            is_last = code.do(f"icmp eq i64 {block}, {last_block}")
            row = code.mul(block, fields["channels"])
            with code.loop(first, end) as channel:
                at = code.mul(code.add(row, channel), len(spec.taps))
                sums = _sums(code, spec, fields, block_input, at)
                mine = code.at(output, code.mul(channel, fields["channel_stride"]))
                theirs = code.at(residual, code.mul(channel, fields["residual_channel_stride"]))
                _finish(code, spec, sums, mine, theirs, fields, channel, (is_first, is_last))
    return code.text()


def _sums(code: Emitter, spec: Product, fields: Fields, given: Value, at: Value) -> list[Value]:
    """Return the sums over the nonzeros of one (block, channel)."""
    order = sorted(range(len(spec.taps)), key=lambda t: spec.taps[t].shift == 0)
    slots = [code.slot(vector(spec.lanes)) for _ in spec.stores]
    for slot in slots:
        code.store(vector(spec.lanes), zeros(spec.lanes), slot, 64)
    for index in order:
        tap = spec.taps[index]
        begin = code.integer("i32", fields["p_starts"], code.add(at, index))
        end = code.integer("i32", fields["p_starts"], code.add(at, index + 1))
        if tap.shift == 0:
            _tap(code, spec, tap, fields, given, begin, end, slots)
            continue
        own = [code.slot(vector(spec.lanes)) for _ in spec.stores]
        for slot in own:
            code.store(vector(spec.lanes), zeros(spec.lanes), slot, 64)
        _tap(code, spec, tap, fields, given, begin, end, own)
        _add_shifted(code, spec, tap, own, slots)
    return [code.load(vector(spec.lanes), slot, 64) for slot in slots]


def _tap(
    code: Emitter,
    spec: Product,
    tap: Tap,
    fields: Fields,
    given: Value,
    begin: Value,
    end: Value,
    slots: list[Value],
) -> None:
    """Add the nonzeros begin..end to the sums in `slots`, `unroll` of them side by side."""
    kind = vector(spec.lanes)
    if tap.unroll == 1:
        with code.loop(begin, end) as k:
            _nonzero(code, spec, tap, fields, given, k, {p: slots[p] for p, _ in tap.parts})
        return
    count, _ = code.div(code.sub(end, begin), tap.unroll)
    middle = code.add(begin, code.mul(count, tap.unroll))
    extra = [{p: code.slot(kind) for p, _ in tap.parts} for _ in range(tap.unroll - 1)]
    for own in extra:
        for slot in own.values():
            code.store(kind, zeros(spec.lanes), slot, 64)
    sets = [{p: slots[p] for p, _ in tap.parts}, *extra]
    with code.loop(begin, middle, tap.unroll) as k:
        for index, own in enumerate(sets):
            _nonzero(code, spec, tap, fields, given, code.add(k, index), own)
    with code.loop(middle, end) as k:
        _nonzero(code, spec, tap, fields, given, k, sets[0])
    for own in extra:
        for p, slot in own.items():
            total = code.do(f"fadd {kind} {code.load(kind, slots[p], 64)}, {code.load(kind, slot, 64)}")
            code.store(kind, total, slots[p], 64)


def _nonzero(
    code: Emitter, spec: Product, tap: Tap, fields: Fields, given: Value, k: Value, slots: dict[int, Value]
) -> None:
    kind = vector(spec.lanes)
    offset = code.integer("i16", fields["p_offsets"], k, signed=False)
    base = code.at(given, code.mul(offset, spec.unit), "i8")
    value = code.splat(code.load("float", code.at(fields["p_values"], k)), spec.lanes)
    for p, displacement in tap.parts:
        x = code.load(kind, code.at(base, displacement))
        total = code.fma(value, x, code.load(kind, slots[p], 64), spec.lanes)
        code.store(kind, total, slots[p], 64)


def _add_shifted(code: Emitter, spec: Product, tap: Tap, own: list[Value], slots: list[Value]) -> None:
    kind = vector(spec.lanes)
    sums = [code.load(kind, slot, 64) for slot in own]
    for p, slot in enumerate(slots):
        moved = _shifted(code, sums, p, tap.shift, spec)
        if moved:
            total = code.do(f"fadd {kind} {code.load(kind, slot, 64)}, {moved}")
            code.store(kind, total, slot, 64)


def _shifted(code: Emitter, sums: list[Value], p: int, shift: int, spec: Product) -> Value:
    """Vector p of the sums moved within their rows: element j is what stood at j + shift; "" if all is 0."""
    lanes, row, result = spec.lanes, spec.row, ""
    sources: dict[int, list[int]] = {}
    for lane in range(lanes):
        j = p * lanes + lane
        if 0 <= j % row + shift < row and 0 <= j + shift < len(sums) * lanes:
            sources.setdefault((j + shift) // lanes, [lanes] * lanes)[lane] = (j + shift) % lanes
    for source_vector, order in sources.items():
        part = code.shuffle(sums[source_vector], zeros(lanes), order, lanes)
        result = code.do(f"fadd {vector(lanes)} {result}, {part}") if result else part
    return result


def _finish(
    code: Emitter,
    spec: Product,
    sums: list[Value],
    output: Value,
    residual: Value,
    fields: Fields,
    channel: Value,
    ends: tuple[Value, Value],
) -> None:
    """Add what goes before the sums, store them; the activation and the mask come with the last block."""
    kind, (is_first, is_last) = vector(spec.lanes), ends
    slots = [code.slot(kind) for _ in sums]
    bias = code.splat(code.load("float", code.at(fields["p_bias"], channel)), spec.lanes)
    with code.when(is_first):
        for slot, to in zip(slots, spec.stores, strict=True):
            before = bias
            if spec.residual:
                before = code.do(f"fadd {kind} {bias}, {code.load(kind, code.at(residual, to))}")
            code.store(kind, before, slot, 64)
    with code.when(code.do(f"xor i1 {is_first}, true")):
        for slot, to in zip(slots, spec.stores, strict=True):
            code.store(kind, code.load(kind, code.at(output, to)), slot, 64)
    for slot, total in zip(slots, sums, strict=True):
        code.store(kind, code.do(f"fadd {kind} {code.load(kind, slot, 64)}, {total}"), slot, 64)
    with code.when(is_last):
        for slot, mask in zip(slots, spec.masks, strict=True):
            value = _activated(code, spec, code.load(kind, slot, 64))
            code.store(kind, _masked(code, spec, value, mask), slot, 64)
    for slot, to in zip(slots, spec.stores, strict=True):
        code.store(kind, code.load(kind, slot, 64), code.at(output, to))


def _activated(code: Emitter, spec: Product, value: Value) -> Value:
    """Clamped; NaN stays NaN."""
    kind = vector(spec.lanes)
    for bound, test in ((spec.low, "olt"), (spec.high, "ogt")):
        if bound is not None:
            limit = constant([bound] * spec.lanes)
            out = code.do(f"fcmp {test} {kind} {value}, {limit}")
            choice = "i1" if spec.lanes == 1 else f"<{spec.lanes} x i1>"
            value = code.do(f"select {choice} {out}, {kind} {limit}, {kind} {value}")
    return value


def _masked(code: Emitter, spec: Product, value: Value, mask: int) -> Value:
    """With 0, which not even NaN survives, where the mask has no bit."""
    lanes = spec.lanes
    if mask == -1 or mask == (1 << lanes) - 1:
        return value
    return code.shuffle(value, zeros(lanes), [i if mask >> i & 1 else lanes for i in range(lanes)], lanes)


def constant(numbers: list[float]) -> Value:
    """Return a vector of floats as IR writes it."""
    import struct

    def digits(number: float) -> str:
        single = struct.unpack("f", struct.pack("f", number))[0]
        return f"0x{struct.unpack('<Q', struct.pack('<d', single))[0]:016X}"

    if len(numbers) == 1:
        return digits(numbers[0])
    return "<" + ", ".join(f"float {digits(number)}" for number in numbers) + ">"
