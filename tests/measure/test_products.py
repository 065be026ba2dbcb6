"""Rules of operations that not every machine dispatches: recurrent layers, attention, grouped products."""

import pytest
import torch

from prunery.graph.uses.products import product


def uses(name, *args, out=None, **kwargs):
    return [operand.uses for operand in product(name)(args, kwargs, out)]


def test_a_fused_recurrent_layer_uses_every_matrix_at_each_step():
    x, weights = torch.randn(7, 3, 5), [torch.randn(8, 5), torch.randn(8, 2), torch.randn(8), torch.randn(8)]
    operands = list(product("_cudnn_rnn")((x, weights, 4, torch.randn(64)), {}, None))
    assert [operand.uses for operand in operands] == [21, 21]
    assert [operand.tensor is weight for operand, weight in zip(operands, weights[:2], strict=True)] == [
        True,
        True,
    ]
    assert len({operand.product for operand in operands}) == 2  # they are not multiplied with each other
    assert uses("mkldnn_rnn_layer", x, *weights) == [21, 21]


@pytest.mark.parametrize(
    "kind", ["flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention"]
)
def test_attention_by_queries_and_keys(kind):
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 9, 8), torch.randn(2, 4, 9, 6)
    assert uses(f"_scaled_dot_product_{kind}", q, k, v) == [9, 5, 5]
    k, v = k[:, :2], v[:, :2]  # two heads of queries for each of keys
    assert uses(f"_scaled_dot_product_{kind}", q, k, v) == [9, 10, 10]


def test_groups_of_rows():
    rows, stack, ends = torch.randn(10, 8), torch.randn(3, 8, 6), torch.tensor([3, 3, 10])
    for name in ("_grouped_mm", "grouped_mm_fallback"):
        of_rows, of_stack = uses(name, rows, stack, offs=ends)
        assert of_rows == 6
        assert of_stack.flatten().tolist() == [3, 0, 7]
    assert uses("_grouped_mm", torch.randn(3, 5, 8), stack) == [6, 5]  # one matrix each


def test_a_linear_layer_in_one_operation():
    assert uses("linear", torch.randn(2, 5, 8), torch.randn(3, 8)) == [3, 10]


def test_a_transposed_convolution_by_its_input():
    x, weight, out = torch.randn(2, 6, 5, 7), torch.randn(6, 2, 3, 3), torch.randn(2, 4, 11, 15)
    rest = (None, [2, 2], [0, 0], [1, 1])
    assert uses("convolution", x, weight, *rest, True, [0, 0], 2, out=out) == [2 * 35]
    assert uses("convolution", x, weight, *rest, False, [0, 0], 2, out=out) == [2 * 11 * 15]
    assert uses("cudnn_convolution", x, weight, out=out) == [2 * 11 * 15]


def test_vectors():
    a, v = torch.randn(4, 3), torch.randn(3)
    assert uses("mv", a, v) == [1, 4]
    assert uses("addmv", torch.randn(4), a, v) == [1, 4]
    assert uses("dot", v, v) == uses("vdot", v, v) == [1, 1]


def test_what_torch_counts_is_here():
    from torch.utils.flop_counter import flop_registry

    forward = {packet.__name__ for packet in flop_registry if "backward" not in packet.__name__}
    without_weights = {"_flash_attention_forward", "_efficient_attention_forward", "flex_attention"}
    assert {name for name in forward if product(name) is None} <= without_weights
    assert forward - without_weights >= {"mm", "addmm", "bmm", "baddbmm", "convolution"}
    assert product("relu") is None
