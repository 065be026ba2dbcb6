"""LLVM IR as text: values are names, variables are stack slots that LLVM turns into registers.

Kernels read what they work on from a table of 64-bit numbers (`Fields`): addresses, counts and strides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

Value = str


def vector(lanes: int) -> str:
    """Return the type of `lanes` floats."""
    return "float" if lanes == 1 else f"<{lanes} x float>"


def zeros(lanes: int) -> Value:
    """Return the constant 0 of that type."""
    return "0.0" if lanes == 1 else "zeroinitializer"


class Emitter:
    """Writes one function, instruction by instruction."""

    def __init__(self, name: str, parameters: Sequence[tuple[str, str]]) -> None:
        self.name, self.parameters = name, parameters
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.declared: dict[str, str] = {}
        self.count = 0

    def fresh(self, stem: str = "v") -> Value:
        """Return a name that is not used yet."""
        self.count += 1
        return f"%{stem}{self.count}"

    def do(self, text: str) -> Value:
        """Write an instruction; return the name of what it computes."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def act(self, text: str) -> None:
        """Write an instruction that computes nothing."""
        self.lines.append(f"  {text}")

    def call(self, kind: str, function: str, *arguments: tuple[str, Value]) -> Value:
        """Write a call of an intrinsic; return its value."""
        types = ", ".join(t for t, _ in arguments)
        self.declared[function] = f"declare {kind} @{function}({types})"
        given = ", ".join(f"{t} {value}" for t, value in arguments)
        return self.do(f"call {kind} @{function}({given})")

    # integers
    def add(self, a: Value, b: Value | int) -> Value:
        """Return a + b."""
        return self.do(f"add i64 {a}, {b}")

    def sub(self, a: Value, b: Value | int) -> Value:
        """Return a - b."""
        return self.do(f"sub i64 {a}, {b}")

    def mul(self, a: Value, b: Value | int) -> Value:
        """Return a * b."""
        return self.do(f"mul i64 {a}, {b}")

    def div(self, a: Value, b: Value | int) -> tuple[Value, Value]:
        """Return quotient and remainder."""
        return self.do(f"udiv i64 {a}, {b}"), self.do(f"urem i64 {a}, {b}")

    def less(self, a: Value, b: Value | int) -> Value:
        """Return whether a < b."""
        return self.do(f"icmp slt i64 {a}, {b}")

    def minimum(self, a: Value, b: Value | int) -> Value:
        """Return the lesser of two."""
        return self.call("i64", "llvm.smin.i64", ("i64", str(a)), ("i64", str(b)))

    # memory
    def at(self, pointer: Value, index: Value | int, kind: str = "float") -> Value:
        """Return the address of element `index`."""
        return self.do(f"getelementptr inbounds {kind}, ptr {pointer}, i64 {index}")

    def load(self, kind: str, pointer: Value, align: int = 4) -> Value:
        """Return what stands at an address."""
        return self.do(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, kind: str, value: Value, pointer: Value, align: int = 4) -> None:
        """Write to an address."""
        self.act(f"store {kind} {value}, ptr {pointer}, align {align}")

    def move(self, source: Value, target: Value, count: int) -> None:
        """Copy bytes from one address to another."""
        self.declared["memcpy"] = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
        given = f"ptr align 4 {target}, ptr align 4 {source}, i64 {count}, i1 false"
        self.act(f"call void @llvm.memcpy.p0.p0.i64({given})")

    def integer(self, kind: str, pointer: Value, index: Value | int, *, signed: bool = True) -> Value:
        """Return element `index` of an array of integers, as 64 bits."""
        bits = int(kind[1:])
        value = self.load(kind, self.at(pointer, index, kind), bits // 8)
        return self.do(f"{'sext' if signed else 'zext'} {kind} {value} to i64")

    def slot(self, kind: str) -> Value:
        """Return a variable, as its address."""
        name = self.fresh("s")
        self.slots.append(f"  {name} = alloca {kind}, align 64")
        return name

    # control
    def label(self, name: str) -> None:
        """Start a block."""
        self.lines.append(f"{name[1:]}:")

    @contextmanager
    def loop(self, begin: Value | int, end: Value | int, step: int = 1) -> Iterator[Value]:
        """Run the body for begin, begin + step, ... while below `end`."""
        variable, test, body, done = self.slot("i64"), *(self.fresh("b") for _ in range(3))
        self.act(f"store i64 {begin}, ptr {variable}")
        self.act(f"br label {test}")
        self.label(test)
        index = self.do(f"load i64, ptr {variable}")
        self.act(f"br i1 {self.less(index, end)}, label {body}, label {done}")
        self.label(body)
        yield index
        self.act(f"store i64 {self.add(index, step)}, ptr {variable}")
        self.act(f"br label {test}")
        self.label(done)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run the body if `condition` holds."""
        body, done = self.fresh("b"), self.fresh("b")
        self.act(f"br i1 {condition}, label {body}, label {done}")
        self.label(body)
        yield
        self.act(f"br label {done}")
        self.label(done)

    # vectors
    def splat(self, value: Value, lanes: int) -> Value:
        """Return a vector of equal floats."""
        if lanes == 1:
            return value
        kind = vector(lanes)
        one = self.do(f"insertelement {kind} poison, float {value}, i64 0")
        return self.shuffle(one, "poison", [0] * lanes, lanes)

    def shuffle(self, a: Value, b: Value, order: Sequence[int], lanes: int) -> Value:
        """Return elements of a and b (`lanes` floats each) in the order given."""
        kind = vector(lanes)
        chosen = ", ".join(f"i32 {i}" for i in order)
        return self.do(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> <{chosen}>")

    def fma(self, a: Value, b: Value, c: Value, lanes: int) -> Value:
        """Return a * b + c, rounded once."""
        kind, suffix = vector(lanes), "f32" if lanes == 1 else f"v{lanes}f32"
        return self.call(kind, f"llvm.fma.{suffix}", (kind, a), (kind, b), (kind, c))

    def text(self) -> str:
        """Return the whole module."""
        given = ", ".join(f"{kind} {name}" for kind, name in self.parameters)
        head = [*self.declared.values(), f"define void @{self.name}({given}) {{", "entry:", *self.slots]
        return "\n".join([*head, *self.lines, "  ret void", "}", ""])


class Fields:
    """The numbers of a kernel's table, by name, in the order of `names`."""

    def __init__(self, code: Emitter, names: Sequence[str], table: Value = "%table") -> None:
        self.values = {}
        for index, name in enumerate(names):
            number = code.load("i64", code.at(table, index, "i64"), 8)
            pointer = name.startswith("p_")
            self.values[name] = code.do(f"inttoptr i64 {number} to ptr") if pointer else number

    def __getitem__(self, name: str) -> Value:
        return self.values[name]
