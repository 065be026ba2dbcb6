"""Every family of the zoo can be scored and pruned: finite scores, exact counts."""

import pytest
import torch

import prunery
from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.models.build import build

SHAPES = {"lenet300": (1, 28, 28), "fc": (1, 28, 28), "lenet5": (1, 28, 28), "lenet5-caffe": (1, 28, 28)}
NETS = [*SHAPES, "cnn8", "vgg16", "resnet20", "resnet110"]


@pytest.mark.parametrize("name", NETS)
def test_synflow_scores_are_finite_and_counts_exact(name):
    shape = SHAPES.get(name, (3, 32, 32))
    model = build(name, shape=shape, classes=10, seed=0)
    layers = prunery.prunable(model)
    flow = gather("flow_grad", ScoringContext(model, layers, example=torch.zeros(1, *shape)))
    for layer in layers:
        scores = flow[layer.name] * layer.parameter
        assert scores.isfinite().all()
        assert scores.any()
    masks = prunery.prune(
        model, "90%", criterion="synflow", example=torch.zeros(1, *shape), rounds=2, floor=0.001
    )
    assert masks.total == sum(layer.parameter.numel() for layer in layers)
    assert masks.total - masks.kept == round(0.9 * masks.total)
