"""What steps ask of the workshop: which seeds, masks and modes; and that they go on where they stopped."""

import pytest
from lab_kit import ONE_EPOCH, differences, do, planned

from prunery.errors import MasksError
from prunery.lab.store import Store
from prunery.lab.work import pruning, work
from prunery.train import loop, recovery_context

CHAIN = {"name": "chain", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.5]}}


def spied(monkeypatch, module, name):
    """The calls of a function that steps use, as they come: (arguments, keywords, what it gave)."""
    calls, real = [], getattr(module, name)

    def spy(*args, **options):
        modes = [args[0].training]
        calls.append((modes, options, real(*args, **options)))
        return calls[-1][-1]

    monkeypatch.setattr(module, name, spy)
    return calls


def test_each_training_on_a_path_has_its_own_seed_and_snips_is_that_of_dense(tmp_path, monkeypatch):
    plan = planned(task=ONE_EPOCH, methods=[CHAIN, {"criterion": "snip"}], sparsities=[0.8], seeds=1)
    calls, store, seeds = spied(monkeypatch, recovery_context, "fit"), Store(tmp_path), {}
    for key, step in plan.steps.items():
        before = len(calls)
        do(step, store)
        if len(calls) > before:
            seeds[key] = calls[-1][1]["seed"]
    path = {cell.method: [k for k in cell.path if k in seeds] for cell in plan.cells}
    assert len({seeds[key] for key in path["chain"]}) == 3
    assert seeds[path["snip"][0]] == seeds[path["dense"][0]] == seeds[path["chain"][0]]
    assert [seeds[key] for key in path["dense + 2×1 epochs"]] == [seeds[key] for key in path["chain"]]


def test_cuts_are_made_in_eval_mode_and_go_on_from_the_masks_there_are(tmp_path, monkeypatch):
    plan = planned(task=ONE_EPOCH, methods=[CHAIN], sparsities=[0.8], seeds=1)
    calls, store = spied(monkeypatch, pruning, "prune"), Store(tmp_path)
    for step in plan.steps.values():
        do(step, store)
    (first_modes, first, made), (second_modes, second, _) = calls
    assert first_modes + second_modes == [False, False]
    assert first["masks"] is None
    assert second["masks"].kept == made.kept


def test_a_step_whose_count_is_not_exact_fails(tmp_path, monkeypatch):
    plan = planned(task=ONE_EPOCH, methods=[{"criterion": "magnitude"}], sparsities=[0.8], seeds=1)
    store, real = Store(tmp_path), pruning.prune
    monkeypatch.setattr(
        pruning, "prune", lambda model, sparsity, **options: real(model, sparsity - 0.01, **options)
    )
    init, train, cut = (
        next(s for s in plan.steps.values() if s.kind == k) for k in ("init", "train", "prune")
    )
    do(init, store)
    do(train, store)
    with pytest.raises(MasksError, match="were asked for"):
        do(cut, store)


def test_a_training_that_was_cut_short_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 0.0)
    longer = {**ONE_EPOCH, "training": {**ONE_EPOCH["training"], "epochs": 3}}
    plan = planned(task=longer, methods=[{"criterion": "magnitude"}], seeds=1)
    init, train = (step for step in plan.steps.values() if step.kind in ("init", "train"))
    calm, cut = Store(tmp_path / "calm"), Store(tmp_path / "cut")
    for one in (calm, cut):
        do(init, one)
    epochs = []

    def dies(done):
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(train, cut, cut.scratch(train.key), report_progress=dies)
    assert not cut.has(train.key)
    scratch = cut.scratch(train.key)
    cut.commit(work(train, cut, scratch, report_progress=epochs.append), scratch)
    assert 2 < epochs[0] < epochs[-1] == 3, "the first two were not trained again"
    do(train, calm)
    assert differences(calm.record(train.key), cut.record(train.key)) == []
    assert not (cut.root / "partial" / train.key).exists()
