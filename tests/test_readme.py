"""What the README shows works as written."""

import re
from pathlib import Path

import pytest
import torch
from nets import batch, mlp

import prunery

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


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


def test_the_readme_has_no_blanks_left():
    assert "@@" not in README.read_text(encoding="utf-8")
    assert prunery.__version__
