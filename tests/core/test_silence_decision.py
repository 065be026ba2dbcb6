"""When evidence counts as saying nothing: the decision, on evidence made up for it."""

import pytest
import torch
from nets import mlp
from torch import nn

from prunery.core.context import ScoringContext
from prunery.core.evidence import evidence
from prunery.core.layers import prunable
from prunery.core.silence import check_silence
from prunery.errors import EvidenceError, SilentCriterionWarning
from prunery.registry import Entry


@pytest.fixture
def made_up(monkeypatch):
    """Enters a kind of evidence whose values are a function of how far the weights are moved."""
    jitters = []

    def enter(values, size=0.0, model=None, **facts):
        def row(context):
            jitters.append(context.jitter)
            return {layer.name: values(layer.name, context.jitter) for layer in context.layers}

        monkeypatch.setitem(evidence._rows, "made_up", Entry("made_up", row, {}, {"passes": 1, **facts}))
        model = mlp(4, 8, 4) if model is None else model
        context = ScoringContext(model, prunable(model))
        context.memo["size", "made_up"] = size
        gathered = {"made_up": row(context)}
        jitters.clear()
        check_silence(context, ["made_up"], gathered)
        return jitters

    return enter


def of_size(size, jitter=0.0):
    """Values that sum to `size` in absolute value, and are others for another jitter."""
    generator = torch.Generator().manual_seed(round(jitter * 1e6))
    values = torch.randn(8, 4, generator=generator)
    return size * values / values.abs().sum()


@pytest.mark.parametrize(("share", "looks"), [(1.0, 0), (1e-4, 0), (5e-6, 4)])
def test_small_evidence_that_stays_is_let_through(made_up, share, looks):
    assert len(made_up(lambda name, jitter: of_size(share), size=1.0)) == looks


def test_small_evidence_that_changes_is_noise(made_up):
    with pytest.raises(EvidenceError, match="rounding noise"):
        made_up(lambda name, jitter: of_size(5e-6, jitter), size=1.0)


def test_evidence_at_rounding_level_need_not_change(made_up):
    with pytest.raises(EvidenceError, match="rounding noise"):
        made_up(lambda name, jitter: of_size(1e-6), size=1.0)


@pytest.mark.parametrize("moved", [1e-4, 1.5e-4, 2e-4, 3e-4])
def test_noise_that_shows_in_one_run_of_four_is_found(made_up, moved):
    with pytest.warns(SilentCriterionWarning, match=r"^2\.weight: "):
        made_up(lambda name, jitter: of_size(1) if name[0] == "0" else of_size(1e-6, jitter == moved))


def test_where_one_layer_is_noise_all_are_looked_at_again(made_up):
    with pytest.raises(EvidenceError, match="every layer"):
        made_up(
            lambda name, jitter: of_size(1, jitter if name[0] == "0" else jitter > 2.5e-4), look_twice=True
        )
    with pytest.warns(SilentCriterionWarning, match=r"^0\.weight: "):
        made_up(lambda name, jitter: of_size(1, jitter if name[0] == "0" else 0.0), look_twice=True)


def test_half_precision_and_endless_sizes_tell_no_noise(made_up):
    assert made_up(lambda name, jitter: of_size(1e-3, jitter).half(), size=1e9) == []
    assert made_up(lambda name, jitter: of_size(1e-9, jitter), size=float("inf")) == []


def test_evidence_of_another_shape_is_taken_as_it_is(made_up):
    with pytest.warns(SilentCriterionWarning, match=r"^2\.weight: "):
        made_up(lambda name, jitter: torch.ones(4) if name[0] == "0" else torch.zeros(8))


def test_thirds_of_small_plain_matrices_are_no_blocks(made_up):
    def rows(count):
        values = torch.ones(count, count // 3)
        values[: count // 3] = 0
        return lambda name, jitter: values

    assert made_up(rows(21), model=nn.Sequential(nn.Linear(7, 21))) == []
    with pytest.warns(SilentCriterionWarning, match=r"^0\.weight \(rows 0 to 7\): "):
        made_up(rows(24), model=nn.Sequential(nn.Linear(8, 24)))
    with pytest.warns(SilentCriterionWarning, match=r"^0\.weight \(columns 0 to 7\): "):
        made_up(lambda *_: rows(24)(*_).t(), model=nn.Sequential(nn.Linear(24, 8)))


def test_projections_of_recurrent_layers_have_no_gates(made_up):
    model = nn.LSTM(4, 8, proj_size=4, bias=False)

    def values(name, jitter):
        rows = torch.ones({"weight_ih_l0": (32, 4), "weight_hh_l0": (32, 4), "weight_hr_l0": (4, 8)}[name])
        rows[: 1 if name == "weight_hr_l0" else 8] = 0
        return rows

    names = r"^weight_ih_l0 \(input gate\), weight_hh_l0 \(input gate\): "
    with pytest.warns(SilentCriterionWarning, match=names):
        made_up(values, model=model)
