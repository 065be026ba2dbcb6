"""The documented spec is the spec: every field is described, every example is sound."""

import re

import pytest
from lab_kit import HERE, ONE_EPOCH, do, planned
from own_rows import registries_kept

from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import schedule
from prunery.core.scope import scope
from prunery.lab import yaml
from prunery.lab.plan import plan
from prunery.lab.spec import Spec, from_plain, load
from prunery.lab.spec_parts import Method, Task
from prunery.lab.store import Store
from prunery.train.recovery import recovery
from prunery.train.settings import Training

TEXT = (HERE.parents[1] / "docs" / "spec.md").read_text(encoding="utf-8")
EXAMPLES = sorted((HERE.parents[1] / "examples").glob("*.yaml"))


def rows(heading):
    """First and second cells of the table below a heading, by first."""
    part = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \| ?(.*?) ?\|", part, flags=re.M)
    return dict(found)


@pytest.mark.parametrize(
    ("heading", "schema"),
    [("Top level", Spec), ("task", Task), ("task.training", Training), ("methods", Method)],
)
def test_every_field_is_described_and_nothing_else(heading, schema):
    assert list(rows(heading)) == list(schema.model_fields)


def test_documented_defaults_are_the_defaults():
    for name, text in rows("task.training").items():
        field = Training.model_fields[name]
        assert field.is_required() == (text == "")
        if text:
            found = yaml.value(text)
            assert (tuple(found) if isinstance(found, list) else found) == field.default


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("criterion", criterion),
        ("granularity", granularity),
        ("scope", scope),
        ("schedule", schedule),
        ("recovery", recovery),
    ],
)
def test_every_row_is_named(key, table):
    (line,) = re.findall(rf"^\| `{key}` \|.*\?(.*)\|$", TEXT, flags=re.M)
    ours = {name for name in table if ":" not in name}  # other tests may have imported rows of their own
    assert set(re.findall(r"`(\w+)`", line)) == ours


def test_the_example_in_the_text_is_sound():
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.S)
    spec = from_plain(yaml.read(text, source="docs/spec.md"))
    assert spec.name == "first-look"
    assert spec.sparsities == (0.5, 0.9, 0.95)
    assert len(plan(spec).cells) == 3 * (3 * 3 * 2 + 2)  # each method also shuffled, and two dense ones


def test_there_are_examples_and_each_can_be_planned():
    assert EXAMPLES
    for path in EXAMPLES:
        assert plan(load(str(path))).steps


def test_the_rows_in_the_text_run_in_a_study(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    (tmp_path / "my_rows.py").write_text(code)
    criterion_text, recovery_text = re.search(
        r"`criterion: (my_rows:[^`]*)`.*?`recovery: (\[[^`]*\])`", TEXT, flags=re.S
    ).groups()
    monkeypatch.syspath_prepend(tmp_path)
    method = {"name": "mine", "criterion": criterion_text, "recovery": yaml.value(recovery_text)}
    with registries_kept("my_rows"):
        made = planned(task=ONE_EPOCH, methods=[method], sparsities=[0.9], seeds=1)
        store = Store(tmp_path / "store")
        for step in made.steps.values():
            do(step, store)
    rows = {name for key in store.finished() for name in store.record(key).environment.get("rows", {})}
    assert rows == {"my_rows:sharp", "my_rows:shift"}
