"""Several studies in one report: linked, in one CSV, and drawn against their number of classes."""

import csv
import io

import pytest
from lab_kit import ONE_EPOCH, do, spec

from prunery.lab.plan import plan
from prunery.lab.spec import plain
from prunery.lab.store import Store
from prunery.report import across, write
from prunery.report.results.study import load

METHODS = [{"criterion": "magnitude"}, {"criterion": "random"}]


def done(folder, tasks):
    """A store in which a small study of each of these tasks is done, by name."""
    store = Store(folder)
    for name, task in tasks.items():
        asked = spec(name=name, task=task, methods=METHODS, sparsities=[0.5], seeds=2)
        for step in plan(asked).steps.values():
            if not store.has(step.key):
                do(step, store)
        store.save_study(name, plain(asked))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    three = {**ONE_EPOCH, "classes": 3}
    tasks = {"some-classes3": three, "some-classes10": ONE_EPOCH, "other": ONE_EPOCH}
    return done(tmp_path_factory.mktemp("store"), tasks)


def test_each_has_a_folder_and_a_link(store, tmp_path):
    names = {path.relative_to(tmp_path).as_posix() for path in write.write(store, tmp_path)}
    index = (tmp_path / "index.html").read_text()
    for name in store.studies():
        assert f"{name}/report.html" in names
        assert f'href="{name}/report.html"' in index
    assert {"studies.csv", "classes.md", "classes.png", "classes.svg"} <= names


def test_one_study_needs_no_index(store, tmp_path):
    write.write(store, tmp_path, "other")
    assert not (tmp_path / "index.html").exists()
    assert (tmp_path / "report.html").exists()


def test_numbers_are_those_of_each_study(store):
    studies = [load(store, name) for name in store.studies()]
    files = across.files(studies)
    rows = list(csv.DictReader(io.StringIO(files["studies.csv"].decode())))
    assert len(rows) == sum(len(s.groups) for s in studies)
    assert {(r["study"], r["classes"]) for r in rows} == {
        ("other", "10"),
        ("some-classes3", "3"),
        ("some-classes10", "10"),
    }
    header, _, *lines = files["classes.md"].decode().splitlines()[4:]
    assert header == "| method | 3 classes | 10 classes |"
    three = next(s for s in studies if s.name == "some-classes3")
    values = next(g.values for g in three.groups if g.method == "magnitude")
    line = next(line for line in lines if line.startswith("| magnitude"))
    assert line.split("|")[2].strip().startswith(f"{values[0]:.2f}, {values[1]:.2f}")
    assert lines[-1] == "| guessing | 33.33 | 10.00 |"


def test_the_same_bytes_twice(store):
    studies = [load(store, name) for name in store.studies()]
    assert across.files(studies) == across.files(studies)


def test_studies_that_differ_otherwise_too_have_no_figure_of_classes(tmp_path):
    longer = {**ONE_EPOCH, "training": {**ONE_EPOCH["training"], "epochs": 2}}
    store = done(tmp_path, {"three": {**ONE_EPOCH, "classes": 3}, "ten": longer})
    assert set(across.files([load(store, name) for name in store.studies()])) == {"index.html", "studies.csv"}


def test_as_many_images_of_each_class_are_no_difference(tmp_path):
    tasks = {f"c{n}": {**ONE_EPOCH, "classes": n, "images": 30 * n} for n in (3, 5)}
    store = done(tmp_path, tasks)
    assert "classes.md" in across.files([load(store, name) for name in store.studies()])
