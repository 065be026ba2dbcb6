"""Specs that are too large, too deep or no specs: an error of the library, soon."""

import time

import pytest
from lab_kit import ONE_EPOCH, raw

from prunery.core.sparsity import parse
from prunery.errors import PruneryError, SparsityError, SpecError
from prunery.lab import yaml
from prunery.lab.limits import MOST_CELLS, MOST_ENTRIES, MOST_TEXT
from prunery.lab.plan import plan
from prunery.lab.spec import from_plain, load
from prunery.lab.spec_source import overridden
from prunery.registry import Choice

SMALL = (
    "task: {{model: lenet300, data: digits, training: {{epochs: 1, optimizer: sgd, learning_rate: 0.1}}}}\n"
)
SMALL += "methods: [{{criterion: {criterion}}}]\nsparsities: {sparsities}\nseeds: {seeds}\n{more}\n"


def text(criterion="magnitude", sparsities="[0.5]", seeds="1", more=""):
    return SMALL.format(criterion=criterion, sparsities=sparsities, seeds=seeds, more=more)


def bomb(levels, form):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [form.format(n=n, aliases=", ".join([f"*a{n - 1}"] * 9)) for n in range(1, levels)]
    return "\n".join(lines)


MERGES = "b0: &b0 {x: 1}\n" + "\n".join(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}" for n in range(1, 40))
DIGITS = "9" * 5000
HOSTILE = {
    "deep lists": text(sparsities="[" * 400 + "]" * 400),
    "deeper lists": text(sparsities="[" * 60_000),
    "deep maps": text(more="{a: " * 400),
    "deep blocks": "\n".join(" " * n + "a:" for n in range(300)),
    "deep dashes": "- " * 5000,
    "itself": text(more="more: &m [*m]"),
    "itself in a map": text(more="more: &m {a: *m}"),
    "lists in lists": text(sparsities="[[0.5]]", seeds="[[1]]"),
    "a list for a name": text(criterion="[magnitude]"),
    "controls in lists": text(more="controls: [[random]]"),
    "corruptions in lists": text(more="corruptions: [[blur]]"),
    "a key that is a list": text(more="? [a]\n: b"),
    "a key that is a number": text(more="7: b"),
    "no whole number": text(seeds="!!int abc"),
    "no number": text(sparsities="[!!float x]"),
    "no truth": text(more="test_curves: !!bool x"),
    "no date": text(more="more: !!timestamp 2020-99-99"),
    "a date": text(more="more: !!timestamp 2020-01-01"),
    "bytes": text(more="more: !!binary '='"),
    "a set": text(more="more: !!set {a, b}"),
    "python": text(more="more: !!python/object/apply:os.system ['touch hacked']"),
    "5000 digits": text(seeds=DIGITS),
    "5000 digits in a list": text(seeds=f"[{DIGITS}]"),
    "400 digits": text(sparsities=f"[1{'0' * 400}]"),
    "70 bits": text(seeds=f"[{1 << 70}]"),
    "a huge exponent": text(sparsities="[1e400]"),
    "a tiny fraction": text(more="").replace(
        "magnitude}", "magnitude, schedule: 'iterative(fraction=1e-300)'}"
    ),
    "unary chain": text(criterion=f"'snip(x={'-' * 1900}1)'"),
    "unary chain in brackets": text(criterion=f"'snip(x={'(' * 900}1{')' * 900})'"),
    "a long name": text(criterion="x" * 100_000),
    "a bomb": text(more=bomb(9, "a{n}: &a{n} [{aliases}]")),
    "a bomb of maps": text(more=bomb(9, "a{n}: &a{n} {{k: [{aliases}]}}")),
    "a bomb of merges": text(more=MERGES),
    "a bomb under methods": bomb(9, "a{n}: &a{n} [{aliases}]") + "\n" + text(sparsities="*a8"),
    "a milliard of seeds": text(seeds="1000000000"),
    "100 000 seeds": text(seeds="100000"),
    "20 000 sparsities": text(sparsities="[" + ", ".join(f"0.{n:05}" for n in range(1, 20_000)) + "]"),
    "a megabyte": text(more="# " + "x" * (1 << 20)),
    "10 megabytes": text(sparsities="[" + "0.5, " * 2_000_000 + "]"),
    "null bytes": "\x00" * 1000,
    "not text": "\ud800",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_spec_is_an_error_of_the_library_soon(tmp_path, what):
    (tmp_path / "s.yaml").write_bytes(HOSTILE[what].encode(errors="surrogatepass"))
    began = time.process_time()
    with pytest.raises(PruneryError) as caught:
        load(str(tmp_path / "s.yaml"))
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 5000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.yaml"]


@pytest.mark.parametrize("what", [w for w in HOSTILE if len(HOSTILE[w]) < MOST_TEXT])
def test_a_hostile_value_of_an_override_is_one_too(what):
    began = time.process_time()
    with pytest.raises(PruneryError):
        from_plain(overridden(raw(), [f"methods={HOSTILE[what]}"]))
    assert time.process_time() - began < 2


def test_a_number_of_seeds_that_may_be_a_seed_is_asked_about(tmp_path):
    (tmp_path / "s.yaml").write_text(text(seeds="2026"))
    with pytest.raises(SpecError, match=r"number of repetitions.*Write \[2026\] if the seed 2026 was meant"):
        load(str(tmp_path / "s.yaml"))
    (tmp_path / "s.yaml").write_text(text(seeds="[2026]"))
    assert load(str(tmp_path / "s.yaml")).seeds == (2026,)


def itself():
    parts = []
    parts.append(parts)
    return parts


@pytest.mark.parametrize(
    "changes",
    [
        {"sparsities": itself()},
        {"sparsities": [0.5] * 3_000_000},
        {"sparsities": [10**400]},
        {"seeds": 10**400},
        {"seeds": list(range(MOST_ENTRIES + 1))},
        {"methods": [{"criterion": "magnitude", "name": str(n)} for n in range(MOST_ENTRIES + 1)]},
        {"seeds": MOST_ENTRIES, "sparsities": [n / 1000 for n in range(1, 2 + MOST_CELLS // MOST_ENTRIES)]},
        {
            "methods": [{"criterion": "magnitude", "schedule": {"name": "iterative", "rounds": 10_000}}],
            "sparsities": [n / 1000 for n in range(1, 900)],
        },
        {"name": "x" * 10_000},
        {"name": "../x"},
        {1: 2},
    ],
    ids=lambda changes: str(changes)[:30],
)
def test_plain_data_have_the_same_limits(changes):
    began = time.process_time()
    with pytest.raises(SpecError):
        from_plain(raw(controls=[]) | changes)
    assert time.process_time() - began < 4


def test_what_is_large_and_sound_is_planned():
    methods = [{"criterion": "magnitude", "recovery": "none", "name": str(n)} for n in range(20)]
    sparsities = [n / 100 for n in range(1, 51)]
    asked = from_plain(raw(task=ONE_EPOCH, methods=methods, sparsities=sparsities, seeds=20))
    assert len(plan(asked).cells) > 1000
    assert yaml.read("a: &x {b: 1}\nc: [*x, *x]\nd: {<<: *x, e: 2}", source="s") == {
        "a": {"b": 1},
        "c": [{"b": 1}, {"b": 1}],
        "d": {"b": 1, "e": 2},
    }


def test_numbers_and_options_beyond_measure_are_refused_by_prune_too():
    for value in (10**400, -(10**400), 10**5000):
        with pytest.raises(SparsityError):
            parse(value)
    assert Choice.parse(f"snip(x={'-' * 5000}1)").name.startswith("snip(x=-")
