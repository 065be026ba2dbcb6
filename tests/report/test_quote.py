"""Numbers quoted in a text come from records; what is not there is an error that names the nearest."""

import math

import pytest
import report_case as case

from prunery.errors import SpecError
from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.lab.store import Store
from prunery.report.results.study import load
from prunery.report.text.quote import SHOWS, filled
from prunery.report.write import write

T2 = 4.302652729911275


def kept(root, *, name="toy", right=lambda c: 9800 - round(100 * c.sparsity) + 10 * c.seed, **more):
    spec = case.spec(retrain=5, controls=["random"]).model_copy(update={"name": name})
    plan, store = plan_of(spec), Store(root)
    store.save_study(name, specs.plain(spec))
    for record in case.store(plan, right, **more).records.values():
        if not store.has(record.key):
            store.commit(record)
    return store, plan


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    store, _ = kept(tmp_path_factory.mktemp("s") / "store")
    return load(store, "toy")


def quoted(study, options):
    return filled(f"a {{{{cell {options}}}}} b", [study])[2:-2]


# 97.1, 97.2, 97.3 at 90 %; dense 98.0, 98.1, 98.2: sd 0.1, half 4.303 · 0.1 / sqrt(3) = 0.248
@pytest.mark.parametrize(
    ("show", "text"),
    [
        ("interval", "97.20 ±0.25"),
        ("mean", "97.20"),
        ("sd", "0.10"),
        ("n", "3"),
        ("half", f"{T2 * 0.1 / math.sqrt(3):.2f}"),
        ("low", "96.95"),
        ("high", "97.45"),
        ("difference-to-dense", "−0.90 ±0.01"),
        ("difference-to-random", "+0.00 ±0.01"),
        ("difference-to-shuffled", "+0.00 ±0.01"),
        ("difference-to-dense-extra", "−0.90 ±0.01"),
        ("verdict-to-dense", "lower"),
        ("epochs", "15"),
        ("sparsity-achieved", "90 %"),
    ],
)
def test_each_way_to_show_a_cell_by_hand(study, show, text):
    assert quoted(study, f"method=magnitude sparsity=90% show={show}") == text


def test_a_sparsity_as_tables_write_it_is_found(tmp_path):
    spec = case.spec(["snip"], sparsities=[1 - 10**-0.5, 1 - 10**-0.51], seeds=1)
    store, plan = Store(tmp_path), plan_of(spec)
    store.save_study("toy", specs.plain(spec))
    for record in case.store(plan, lambda c: 9000 + round(100 * c.sparsity)).records.values():
        store.commit(record)
    study = load(store, "toy")
    assert quoted(study, "method=snip sparsity=68.38%") == "90.68"
    assert quoted(study, "method=snip sparsity=69.1%") == "90.69"
    with pytest.raises(SpecError, match=r"not measured at 68\.39 %; the nearest is 68\.38 %"):
        quoted(study, "method=snip sparsity=68.39%")


def test_every_row_of_the_table_is_tried_above():
    assert len(list(SHOWS)) == 14


@pytest.mark.parametrize("sparsity", ["90%", "0.9", "10x", "density=0.1", '"90 %"', "compression=1"])
def test_sparsities_are_written_as_in_a_spec(study, sparsity):
    assert quoted(study, f'method="magnitude" sparsity={sparsity}') == "97.20 ±0.25"


def test_other_metrics_and_controls(study):
    assert quoted(study, "method=dense") == "98.10 ±0.25"
    assert quoted(study, 'method="dense + 5 epochs" show=mean') == "98.10"
    assert quoted(study, "method=snip sparsity=90% metric=test_loss show=mean") == "0.100"
    assert quoted(study, "method=snip sparsity=90% metric=test_top5 show=mean") == "99.90"
    assert quoted(study, "method=snip sparsity=90% metric=kept show=mean") == "26620"


def test_what_is_no_quote_stays_as_it_is(study):
    text = "97.20 {{ site.title }} {cell} {{}} 5 % of {{cellar}} `{{ a | b }}`\r\n"
    assert filled(text, [study]) == text
    beside = "by hand 12.34, {{cell method=dense show=mean}}, by hand 12.34"
    assert filled(beside, [study]) == "by hand 12.34, 98.10, by hand 12.34"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("method=magnitud sparsity=90%", "no method 'magnitud'; did you mean 'magnitude'?"),
        ("sparsity=90%", "no method ''"),
        ("method=snip sparsity=91%", "not measured at 91 %; the nearest is 90 %"),
        ("method=snip sparsity=much", "'much' is no sparsity"),
        ("method=snip", "'snip' has 3 sparsities"),
        ("method=snip sparsity=90% metric=test_top2", "no metric 'test_top2'; did you mean 'test_top"),
        ("method=snip sparsity=90% show=men", "no show 'men'; did you mean 'mean'?"),
        ("method=dense show=difference-to-dense", "it has no difference-to-dense (n = 3)"),
        ("methd=snip sparsity=90%", "'methd' is no option; did you mean 'method'?"),
        ("method=snip sparsity=90% loudly", "'loudly' is no option"),
        ("method=snip sparsity=90% study=toi", "no study 'toi'; did you mean 'toy'?"),
        ("", "no method ''"),
    ],
)
def test_what_is_not_there_is_an_error_with_its_line(study, options, words):
    with pytest.raises(SpecError) as raised:
        filled(f"one\n\nx {{{{cell {options}}}}}", [study], source="paper.md")
    assert "paper.md:3: " in str(raised.value)
    assert words in str(raised.value)


def test_a_misspelt_quote_is_no_other_template(study):
    with pytest.raises(SpecError, match="there is no 'cel'"):
        filled("{{cel method=snip}}", [study])


@pytest.mark.parametrize("broken", ["missing", "collapsed", "diverged"])
def test_a_cell_that_is_not_done_is_not_quoted(tmp_path, broken):
    plan = plan_of(case.spec(retrain=5))
    cell = case.cell_of(plan, "snip", 0.9, 1)
    notes = {"collapsed": ["predicts class 1 for all 10000"], "diverged": ["outputs NaN"]}.get(broken)
    store, _ = kept(
        tmp_path / "store",
        without={cell.key} if broken == "missing" else (),
        notes={cell.key: notes} if notes else {},
        losses={cell.key: math.nan} if broken == "diverged" else {},
    )
    loaded = load(store, "toy")
    with pytest.raises(SpecError, match=f"not all of its cells are done \\({broken}: seed 1\\)"):
        quoted(loaded, "method=snip sparsity=90%")
    assert quoted(loaded, "method=magnitude sparsity=90% show=mean") == "97.20"


def test_several_studies_need_a_name(tmp_path):
    store, _ = kept(tmp_path / "store")
    kept(tmp_path / "store", name="second")
    two = [load(store, name) for name in ("second", "toy")]
    assert filled("{{cell method=dense study=second show=n}}", two) == "3"
    with pytest.raises(SpecError, match="2 studies"):
        filled("{{cell method=dense show=n}}", two)


def test_a_text_is_copied_beside_the_files_or_nothing_is_written(tmp_path):
    store, _ = kept(tmp_path / "store")
    paper, wrong = tmp_path / "paper.md", tmp_path / "wrong.md"
    paper.write_bytes("{{cell method=dense}} ± by hand\r\n".encode())
    wrong.write_text("{{cell method=dens}}", encoding="utf-8")
    with pytest.raises(SpecError, match=r"wrong\.md:1"):
        write(store, tmp_path / "out", texts=[paper, wrong])
    assert not (tmp_path / "out").exists()
    written = write(store, tmp_path / "out", texts=[paper])
    assert written[-1] == tmp_path / "out" / "paper.md"
    first = written[-1].read_bytes()
    assert first == "98.10 ±0.25 ± by hand\r\n".encode()
    assert write(store, tmp_path / "out", texts=[paper])[-1].read_bytes() == first


def test_a_text_never_overwrites_a_file_of_the_report_nor_itself(tmp_path):
    store, _ = kept(tmp_path / "store")
    (tmp_path / "table.md").write_text("mine", encoding="utf-8")
    with pytest.raises(SpecError, match="is taken"):
        write(store, tmp_path / "out", texts=[tmp_path / "table.md"])
    (tmp_path / "mine.md").write_text("mine", encoding="utf-8")
    with pytest.raises(SpecError, match="is taken"):
        write(store, tmp_path, texts=[tmp_path / "mine.md"])
    with pytest.raises(SpecError, match="cannot be read"):
        write(store, tmp_path / "out", texts=[tmp_path / "none.md"])
    assert not (tmp_path / "out").exists()
