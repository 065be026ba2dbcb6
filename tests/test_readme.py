"""What the README shows works as written."""

import re
from pathlib import Path

import pytest
import torch
import typer
from nets import batch, mlp

import prunery
from prunery.cli import app

README = Path(__file__).parents[1] / "README.md"


PRUNE = README.parent / "docs" / "prune.md"


def blocks(language, path=README):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_spec_plans_as_written(tmp_path):
    from prunery.lab.plan import plan
    from prunery.lab.spec import load

    (tmp_path / "compare.yaml").write_text(blocks("yaml")[0])
    planned = plan(load(str(tmp_path / "compare.yaml")))
    assert sum(cell.role == "pruned" for cell in planned.cells) == 3 * 2 * 3


def test_the_three_lines_run_as_written():
    model = mlp(100, 100, 50)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def train(model, optimizer):
        x, y = batch((100,), 50)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    names = {"model": model, "optimizer": optimizer, "train": train}
    exec(blocks("python")[0], names)
    masks = names["masks"]
    assert masks.total - masks.kept == round(0.9 * masks.total)
    assert all((model.get_parameter(n)[~m] == 0).all() for n, m in masks.items())


@pytest.mark.parametrize(
    "arguments",
    [
        {"criterion": "snip"},
        {"scope": "layer"},
        {"floor": 0.01},
        {"exclude": ["0.*", "@output"]},
        {"granularity": "filter(norm='l2')", "scope": "layer"},
        {"rounds": 10},
        {"schedule": "iterative(fraction=0.2)"},
    ],
)
def test_the_table_of_arguments_works(arguments):
    masks = prunery.prune(mlp(20, 30, 30, 5), "50%", batches=[batch((20,), 5)], **arguments)
    assert masks.kept < masks.total


def test_the_readme_is_short_and_has_no_blanks_left():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    assert "@@" not in text


@pytest.mark.parametrize("block", [blocks("python")[1], blocks("python", PRUNE)[2]])
def test_a_model_is_repaired_as_written(block):
    names = {"prunery": prunery, "model": mlp(12, 10, 6), "images": batch((12,), 6, n=64)[0]}
    exec(block, names)
    assert names["masks"].holds(names["small"])
    assert names["report"].rungs


def test_a_model_is_cut_saved_and_loaded_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = mlp(12, 10, 6)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    names = {"prunery": prunery, "model": model, "optimizer": optimizer, "example": batch((12,), 6)[0]}
    exec(blocks("python", PRUNE)[3], {**names, "factory": lambda: mlp(12, 10, 6)})
    assert (tmp_path / "small.prunery").is_file()


@pytest.mark.parametrize("path", [README, PRUNE, *sorted((README.parent / "docs").glob("*.md"))], ids=str)
def test_commands_and_their_options_are_there(path):
    commands = typer.main.get_command(app).commands
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"(?:^|`)prunery (?=[a-z])([^`#\n]*)", text, re.MULTILINE)
    for line in lines:
        name, *rest = line.split()
        assert name in commands, line
        options = {
            option for param in commands[name].params for option in (*param.opts, *param.secondary_opts)
        }
        given = {word.split("=")[0] for word in rest if word.startswith("-") and len(word) > 1}
        assert given <= options, (line, given - options)
