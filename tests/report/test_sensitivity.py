"""A scan as table, CSV and heat map: what each number is, what is marked, the same bytes."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from prunery.measure.sensitivity import Scanned, Sensitivity
from prunery.report import sensitivity as report
from prunery.report.sensitivity import About, csv_text, figure, files, images, table, write

ABOUT = About("lenet300", "mnist", "step 0123", "snip")
LEVELS = (0.5, 0.995)


def scanned(layer, level, correct, weights, note=""):
    kept = weights if level is None else round(weights * (1 - level))
    return Scanned(layer, level, correct, 1000, 1 - correct / 1000, kept, weights, weights / 1000, note)


def scan(layers=("a.weight", "b.in_proj_weight", "c.weight")):
    """The middle layer was sparser than the first level; the last one collapses at the second."""
    unpruned = scanned("", None, 980, 1000)
    sizes = {name: 500 if i else 100 for i, name in enumerate(layers)}
    rows = [scanned(n, s, 970 - 100 * i, sizes[n]) for n in layers for i, s in enumerate(LEVELS)]
    rows[-1] = replace(rows[-1], correct=100, note="predicts class 3 for all 1000")
    return Sensitivity(unpruned, tuple(row for i, row in enumerate(rows) if i != 2), LEVELS)


def test_the_table_says_what_was_measured():
    made = table(scan(), ABOUT)
    assert made.header == ("layer", "weights", "share", "50 %", "99.5 %")
    assert made.rows == (
        ("unpruned", "1 000", "100.0 %", "98.00", "98.00"),
        ("a.weight", "100", "10.0 %", "97.00", "87.00"),
        ("b.in_proj_weight", "500", "50.0 %", "-", "87.00"),
        ("c.weight", "500", "50.0 %", "97.00", "10.00†"),
    )
    caption = " ".join(made.caption)
    assert "1 000 validation images" in caption
    assert "pruned by snip" in caption
    assert "weights: step 0123" in caption
    assert "at most 1.58 points" in caption  # 50 / sqrt(1000)
    assert [note[0] for note in made.footnotes] == ["†", "-"]


def test_the_loss_has_a_table_of_its_own():
    made = table(scan(), ABOUT, loss=True)
    assert made.rows[1][3:] == ("0.030", "0.130")
    text = files(scan(), ABOUT)["sensitivity.md"].decode()
    assert text.startswith("# lenet300 on mnist: each layer pruned alone, accuracy\n")
    assert "| a.weight | 100 | 10.0 % | 97.00 | 87.00 |" in text
    assert "| a.weight | 100 | 10.0 % | 0.030 | 0.130 |" in text


def test_no_marks_where_nothing_is_marked():
    scanned = scan()
    whole = replace(scanned, rows=tuple(row for row in scanned.rows if row.layer == "a.weight"))
    assert table(whole, ABOUT).footnotes == ()


def test_csv_has_every_count():
    rows = list(csv.DictReader(io.StringIO(csv_text(scan()))))
    assert len(rows) == 6
    first = ("unpruned", "", "980", "1000", "98", "0.02", "1000", "1000", "1", "")
    assert rows[0] == dict(zip(report.COLUMNS, first, strict=True))
    assert [(r["layer"], r["sparsity"]) for r in rows[3:4]] == [("b.in_proj_weight", "0.995")]
    assert rows[-1]["note"] == "predicts class 3 for all 1000"
    assert (rows[1]["kept"], rows[1]["weights"], rows[1]["share"]) == ("50", "100", "0.1")


def test_the_same_scan_gives_the_same_bytes_without_a_date():
    first, second = files(scan(), ABOUT), files(scan(), ABOUT)
    assert first == second
    assert set(first) == {f"sensitivity.{kind}" for kind in ("csv", "md", "png", "svg")}
    assert files(scan(), replace(ABOUT, model="other"))["sensitivity.svg"] != first["sensitivity.svg"]
    assert not re.search(rb"20\d\d-\d\d", first["sensitivity.svg"])


def shades(scanned):
    """The colours of the picture that hold at least so many pixels as the middle of a cell."""
    image = np.asarray(Image.open(io.BytesIO(images(scanned, ABOUT)["sensitivity.png"])).convert("RGB"))
    colours, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(map(int, c)) for c, n in zip(colours, counts, strict=True) if n > 2000}


def test_what_is_lost_is_darker():
    scanned = scan()
    assert (0x7A, 0x33, 0x00) in shades(scanned), "the darkest shade is the largest loss"
    unharmed = replace(scanned, rows=tuple(replace(r, correct=990, note="") for r in scanned.rows))
    assert shades(unharmed) & {(0x7A, 0x33, 0x00)} == set(), "a gain is no loss"
    assert (0xF3, 0xF3, 0xF1) in shades(unharmed)


def test_the_picture_grows_with_the_layers():
    heights = []
    for count in (1, 5, 21):
        made = images(scan([f"layer{i}.conv.weight" for i in range(count + 1)]), ABOUT)
        heights.append(Image.open(io.BytesIO(made["sensitivity.png"])).size[1])
    first, second, third = heights
    assert third - second == pytest.approx(4 * (second - first), abs=4)  # sixteen layers and four


def test_a_scan_without_rows_has_no_picture():
    assert images(replace(scan(), rows=()), ABOUT) == {}
    assert set(files(replace(scan(), rows=()), ABOUT)) == {"sensitivity.csv", "sensitivity.md"}


def test_all_files_or_none(tmp_path, monkeypatch):
    written = write(scan(), ABOUT, tmp_path / "new" / "folder")
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in written)
    assert {p.name: p.read_bytes() for p in written} == files(scan(), ABOUT)

    def broken(*_):
        raise RuntimeError("no picture")

    monkeypatch.setattr(report, "images", broken)
    with pytest.raises(RuntimeError):
        write(scan(), ABOUT, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_layers_whose_names_shorten_alike_have_a_row_each():
    names = [f"encoder.layers.encoder_layer_10.mlp.{i}.weight" for i in (0, 3)]
    drawn = json.dumps(figure(scan(["first.weight", *names]), ABOUT).specs())
    assert all(f'"layer": "{name}"' in drawn for name in names)
