"""The Ray engine on two simulated nodes: as the local engine, wherever a step runs and whoever dies."""

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from engine_kit import WORK, Heard, of_kind
from lab_kit import differences, linux, planned, raw, runner, wait_until

from prunery.errors import PruneryError
from prunery.lab.engines import local, ray_cluster, ray_task
from prunery.lab.engines import ray as engine
from prunery.lab.engines.ray_cluster import gpu_share
from prunery.lab.environment import library_version
from prunery.lab.plan import Step, key_of
from prunery.lab.store import Store

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes of one core each; LAB_FAKE is set for their processes."""
    pytest.importorskip("ray")
    fake = tmp_path_factory.mktemp("fake")
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("RAY_USAGE_STATS_ENABLED", "0")
        changed.setenv("LAB_FAKE", str(fake))
        import ray
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        nodes.add_node(**NODE)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def fake(cluster):
    """The folder that tells the pretended work what to do, empty."""
    folder = Path(os.environ["LAB_FAKE"])
    for left in folder.iterdir():
        left.unlink()
    return folder


def assert_same(plan, one, other):
    """Every record and every file of two stores are the same."""
    assert list(one.finished()) == list(other.finished()) == sorted(plan.steps)
    for key in plan.steps:
        assert differences(one.record(key), other.record(key)) == []
        for name in one.record(key).files:
            assert one.file(key, name).read_bytes() == other.file(key, name).read_bytes()


def test_what_goes_wrong_goes_as_on_the_local_engine(fake, store, monkeypatch):
    plan, heard = planned(seeds=1), Heard()
    monkeypatch.setattr(ray_cluster, "_NEWS_SECONDS", 0.05)
    (fake / "slow").write_text("0.2")  # so that somebody hears of the epochs
    (raises, kills_once, *_), (*_, kills) = of_kind(plan, "prune"), of_kind(plan, "measure")
    (fake / f"raise-{raises}").touch()
    (fake / f"kill-{kills_once}").write_text("1")
    (fake / f"kill-{kills}").write_text("99")
    outcome = engine.run(plan, store, progress=heard, work=WORK)
    assert set(outcome.failed) == {raises, kills}
    assert (outcome.failed[raises].reason, outcome.failed[raises].tries) == ("ZeroDivisionError: as told", 1)
    assert "lab_fake.py" in outcome.failed[raises].trace
    assert outcome.failed[kills].tries == 3
    assert outcome.failed[kills].reason.startswith("its worker died 3 times: WorkerCrashedError")
    assert len(outcome.blocked) == 2
    assert len(outcome.done) == len(plan.steps) - 4
    assert [final for key, _, final in heard.failures if key == kills_once] == [False]
    assert store.failed(raises) == outcome.failed[raises]
    assert {*heard.epochs} & {("train", 1.0), ("recover", 1.0)}
    assert store.running() == []


def test_a_store_that_a_node_does_not_see_stops_the_run(fake, store, monkeypatch):
    site = engine.Site
    monkeypatch.setattr(engine, "Site", lambda store, *told: site(f"{store}-elsewhere", *told))
    with pytest.raises(PruneryError, match=r"on node .*: there is none. Put it on a file system that all"):
        engine.run(planned(), store, work=WORK)
    monkeypatch.undo()
    with pytest.raises(PruneryError, match="No module named 'nowhere'"):
        engine.run(planned(), store, work="nowhere:work")
    assert list(store.finished()) == []


def test_a_step_for_which_no_node_has_room_is_an_error(fake, store, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_ROOM_SECONDS", 0)
    monkeypatch.setattr(ray_cluster, "_LOOK_SECONDS", 0)
    with pytest.raises(PruneryError, match="a step on 2 cores: the largest node of the cluster has 1"):
        engine.run(planned(threads=2), store, work=WORK)


@linux
def test_ctrl_c_stops_everything_and_a_rerun_goes_on(tmp_path, fake, cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    (tmp_path / "spec.json").write_text(json.dumps(raw()))
    (fake / "slow").write_text("0.3")
    process = runner(tmp_path / "spec.json", tmp_path / "store", workers=2, work=WORK, engine="ray")
    log = fake / "log"
    assert wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 3, 60)
    (fake / "slow").write_text("60")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    answer = json.loads(process.communicate(timeout=120)[0])
    assert (answer["stopped"], answer["complete"]) == (True, False)
    (fake / "slow").write_text("0")
    outcome = engine.run(planned(), Store(tmp_path / "store"), work=WORK)
    assert outcome.complete
    assert len(outcome.cached) == answer["done"] > 0


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle_costs_nothing(tmp_path, cluster, fake):
    """The last test with the cluster: one node alone is left."""
    plan = planned(sparsities=[0.5])
    other = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    held = fake / "held"

    def lose():
        (fake / "hold").write_text(other.node_id)
        wait_until(held.exists, 60)  # a step is running there
        cluster.remove_node(other, allow_graceful=False)

    heard = Heard(3, lose)
    outcome = engine.run(plan, Store(tmp_path / "cluster"), progress=heard, work="lab_slow:work")
    assert outcome.complete
    assert len(outcome.done) == len(plan.steps)
    lost = held.read_text()
    assert [(key, final) for key, _, final in heard.failures] == [(lost, False)], "it was begun again"
    assert "NodeDied" in heard.failures[0][1]
    local.run(plan, Store(tmp_path / "calm"), workers=2)
    assert_same(plan, Store(tmp_path / "calm"), Store(tmp_path / "cluster"))


def test_without_ray_the_extra_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PruneryError, match=r"pip install 'prunery\[ray\]'"):
        engine.run(planned(), store)
    with pytest.raises(PruneryError, match="0 workers"):
        engine.run(planned(), store, workers=0)


@pytest.mark.parametrize(
    ("nodes", "cpus", "workers", "share"),
    [
        ([{"CPU": 8}], 1, None, 0.0),
        ([{"CPU": 8, "GPU": 1}], 1, None, 0.125),
        ([{"CPU": 8, "GPU": 1}], 2, None, 0.25),
        ([{"CPU": 2, "GPU": 4}], 1, None, 1.0),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 8}], 1, None, 0.125),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 4, "GPU": 2}], 1, None, 0.25),
        ([{"CPU": 8, "GPU": 1}], 1, 3, 0.3333),
        ([{"CPU": 1, "GPU": 1}], 4, None, 1.0),
    ],
)
def test_the_share_of_a_gpu_lets_all_run_that_find_cores(nodes, cpus, workers, share):
    assert gpu_share(nodes, cpus, workers) == share


@pytest.fixture
def site(store):
    """A run as its processes know it, with its claim held; the process's own memory of runs is cleared."""
    ray_task._joined.cache_clear()
    claim = store.claim(".run-1")
    paths = tuple(sys.path)
    yield ray_task.Site(str(store.root), ".run-1", WORK, paths, library_version())
    claim.release()
    ray_task._joined.cache_clear()


def test_a_process_joins_only_the_run_whose_store_it_sees(site, tmp_path):
    assert ray_task.enter(site) == {"is": "ready"}
    Store(tmp_path / "other")
    for change, found in [
        ({"store": str(tmp_path / "nowhere")}, "there is none"),
        ({"store": str(tmp_path / "other")}, "another folder here than where the run was started"),
        ({"version": "0.0"}, "0.0 where the run started"),
        ({"work": "lab_fake:nothing"}, "has no attribute 'nothing'"),
    ]:
        answer = ray_task.enter(replace(site, **change))
        assert answer["is"] == "broken"
        assert found in answer["reason"]
    assert not (tmp_path / "nowhere").exists()


def test_a_parent_that_a_node_does_not_see_yet_is_waited_for(site, store, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_FAKE", str(tmp_path))
    key = key_of("measure", {}, ())
    first, second = (Step(key_of("measure", {}, above), "measure", {}, above) for above in ((), (key,)))
    orders = [vars(step) for step in (first, second)]
    late = threading.Timer(0.5, lambda: ray_task.perform(orders[0], site, None))
    late.start()
    assert ray_task.perform(orders[1], site, None) == {"is": "done"}
    late.join()
