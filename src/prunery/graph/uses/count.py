"""The run of a model that counts the uses of its weights.

It has values: which expert a row goes to may depend on them. It keeps no tensor but those made of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from prunery.errors import ModelError
from prunery.forward import call_of, no_trace, tensors
from prunery.graph.read_torch import unfused
from prunery.graph.uses.counter import RecurrentLayers, UseCounter
from prunery.graph.uses.lineage import Watched


def count(model: nn.Module, watched: Sequence[Watched], example: Any) -> UseCounter:
    """Add to each watched parameter its uses by one call of `model`, in eval mode.

    ModelError: the model cannot be called with the example.
    """
    args, kwargs = call_of(example)
    counter = UseCounter(watched, tensors(example))
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    whole_layers = RecurrentLayers(counter) if recurrent else nullcontext()
    with unfused(), no_trace(model), torch.inference_mode(False), torch.no_grad(), counter, whole_layers:
        try:
            model(*args, **kwargs)
        except Exception as error:  # whatever the user's forward raises
            problem = f"the model raised {type(error).__name__} on the example: {error}"
            do = "give an example that it can be called with"
            raise ModelError("the cost of a model", problem, do) from error
    return counter
