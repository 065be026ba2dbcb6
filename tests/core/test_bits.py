"""Bits of masks: packing and the AND on every kind of number, against the same written plainly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunery import Masks
from prunery.core.bits import and_, bits_of, clear_, nonzero, packed, revived, unpacked, zeros_kept

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128,
    torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip
SPECIAL = [0.0, -0.0, torch.nan, torch.inf, -torch.inf, 1e-45, 1.0, -1.0]

shapes = st.lists(st.integers(0, 9), min_size=0, max_size=4).map(tuple)


def drawn(shape, seed, *, share=0.5):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=g) < share


@settings(deadline=None)
@given(shapes, st.integers(0, 2**20))
def test_packing_and_back(shape, seed):
    mask = drawn(shape, seed)
    assert torch.equal(unpacked(packed(mask), shape), mask)
    assert len(packed(mask)) == -(-mask.numel() // 8)


def values_of(shape, dtype, seed):
    """Random values, with zeros of both signs, NaN and infinity among them."""
    g = torch.Generator().manual_seed(seed)
    plain = torch.randn((*shape, 2), generator=g)
    special = torch.tensor(SPECIAL)[torch.randint(0, len(SPECIAL), plain.shape, generator=g)]
    values = torch.where(drawn(plain.shape, seed + 1, share=0.3), special, plain)
    if dtype.is_complex:
        part = torch.float64 if dtype is torch.complex128 else torch.float32
        return torch.view_as_complex(values.to(part).contiguous())
    return values[..., 0].to(dtype).clone(memory_format=torch.contiguous_format)


def raw(values):
    """The bytes of each value, (values, bytes)."""
    return values.flatten().view(torch.uint8).view(values.numel(), -1)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    st.sampled_from(DTYPES),
    st.integers(0, 2**20),
)
def test_kept_values_keep_their_bits_and_removed_ones_are_plus_zero(shape, dtype, seed):
    values, mask = values_of(shape, dtype, seed), drawn(shape, seed)
    expected = raw(values) * mask.view(-1, 1)
    for change in (lambda v: clear_(v, mask), lambda v: and_(v, bits_of(v, mask))):
        changed = values.clone()
        change(changed)
        assert torch.equal(raw(changed), expected)
        assert revived(changed, mask) == 0
    assert revived(values, mask) == sum(
        1 for v, m in zip(nonzero(values).flatten(), mask.flatten(), strict=True) if v and not m
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_counts_as_zero(dtype):
    values = torch.tensor([0.0, -0.0, 1.0, -1.0]).to(dtype)
    assert nonzero(values).tolist() == [False, False, True, True]
    assert nonzero(torch.tensor([torch.nan]).to(dtype)).all()


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "every other"])
def test_other_layouts_are_cleared_in_place(layout):
    base = torch.randn(6, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    values = {
        "channels_last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(0, 1),
        "every other": base[:, ::2],
    }[layout]
    mask, strides = drawn(values.shape, 0), values.stride()
    expected = torch.where(mask, values, 0.0)
    clear_(values, mask)
    assert torch.equal(values, expected)
    assert values.stride() == strides


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.complex128])
def test_zeros_kept_by_hand(dtype):
    values = torch.tensor([0.0, 0.0, 0.0, -0.0, 2.0, 3.0]).to(dtype)  # the first two are removed
    assert zeros_kept(values, 4) == 2
    assert zeros_kept(values[4:], 2) == 0
    assert zeros_kept(values.to("meta"), 4) == 0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**20), st.floats(0, 0.9), st.floats(0, 0.9))
def test_masks_within_masks(seed, first, second):
    """A mask within another removes all that the other does, whatever the order in which they are applied."""
    outer = Masks({"weight": drawn((7, 5), seed, share=1 - first)})
    inner = Masks({"weight": outer["weight"] & drawn((7, 5), seed + 1, share=1 - second)})
    model = torch.nn.Linear(5, 7)
    torch.nn.init.constant_(model.weight, 1.0)
    inner.apply_(model)
    assert outer.holds(model)
    outer.apply_(model)
    assert int(model.weight.sum()) == inner.kept
    assert inner.kept <= outer.kept
    assert Masks.of(model).kept == inner.kept
