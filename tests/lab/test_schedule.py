"""The schedule: each step once, after all its parents, in the right order; without processes."""

import random
import time

import pytest
from lab_kit import planned

from prunery.lab.engines.schedule import TRIES, Schedule, longest_ways
from prunery.lab.plan import Step


def step(key, *parents, epochs=0):
    args = {"training": {"epochs": epochs}} if epochs else {}
    return Step(key, "train" if epochs else "measure", args, parents)


def todo(*steps):
    return {step.key: step for step in steps}


def taken(schedule, last=""):
    found = schedule.take(last)
    return found and found.key


def test_a_step_is_ready_once_all_its_parents_are_done():
    schedule = Schedule(todo(step("a"), step("b"), step("both", "a", "b"), step("known", "elsewhere")))
    keys = {taken(schedule) for _ in range(3)}
    assert keys == {"a", "b", "known"}, "what starts from a step that is done already is ready"
    assert taken(schedule) is None
    schedule.finish("a")
    assert taken(schedule) is None
    schedule.finish("b")
    assert taken(schedule) == "both"
    assert schedule.active
    for key in ("known", "both"):
        schedule.finish(key)
    assert not schedule.active


def test_a_parent_that_is_named_twice_counts_once():
    schedule = Schedule(todo(step("a"), step("b", "a", "a")))
    schedule.finish(taken(schedule))
    assert taken(schedule) == "b"


def test_the_longest_way_to_an_end():
    plan = planned(seeds=1, sparsities=[0.9], methods=[{"criterion": "magnitude"}])
    found = longest_ways(plan.steps)
    init, train, prune, recover, measure = next(c for c in plan.cells if c.role == "pruned").path
    small = 0.2  # a step without training
    assert found[measure] == pytest.approx(small)
    assert found[recover] == pytest.approx(2 + small)
    assert found[prune] == pytest.approx(2 + 2 * small)
    assert found[train] == pytest.approx(4 + 2 * small)
    assert found[init] == pytest.approx(4 + 3 * small)


def test_the_longest_way_comes_first_and_a_short_step_goes_to_the_worker_at_hand():
    steps = todo(
        step("a"),
        step("cut", "a"),
        step("tail", "a", epochs=1),
        step("long", epochs=3),
        step("longer", epochs=4),
    )
    schedule = Schedule(steps)
    assert [taken(schedule) for _ in range(3)] == ["longer", "long", "a"]
    schedule.finish("a")
    assert taken(schedule, "a") == "cut", "before a training, whose way is longer"
    assert taken(schedule, "a") == "tail"


def test_what_is_at_hand_is_worth_a_quarter_of_an_epoch():
    others = [step("same", epochs=2), step("longer", epochs=3)]
    schedule = Schedule(todo(step("a"), *others, step("below", "a", epochs=2)))
    while (key := taken(schedule)) != "a":
        schedule.postpone(key, until=0)
    schedule.finish("a")
    schedule.wake(0)
    assert [taken(schedule, "a") for _ in range(3)] == ["longer", "below", "same"]


def test_a_step_that_raises_is_given_up_and_one_whose_worker_died_has_three_tries():
    schedule = Schedule(todo(step("a"), step("b"), step("under a", "a"), step("under b", "b")))
    assert taken(schedule) == "a"
    assert schedule.lose("a", died=False)
    for more in range(TRIES):
        assert taken(schedule) == "b"
        assert schedule.lose("b", died=True) == (more == TRIES - 1)
    assert (schedule.tries("a"), schedule.tries("b")) == (1, 3)
    assert taken(schedule) is None
    assert not schedule.active, "what starts from them is never ready"


def test_a_postponed_step_waits_for_its_time():
    schedule = Schedule(todo(step("a")))
    schedule.take()
    schedule.postpone("a", until=5.0)
    schedule.wake(4.9)
    assert schedule.take() is None
    assert schedule.active
    schedule.wake(5.0)
    assert taken(schedule) == "a"


def graph(dice, count):
    """A random graph of steps: short ones and trainings, with up to three parents each."""
    steps = {}
    for number in range(count):
        parents = dice.sample(sorted(steps), min(len(steps), dice.choice([0, 1, 1, 1, 2, 3])))
        found = step(f"{number:03}", *parents, epochs=dice.choice([0, 0, 1, 2]))
        steps[found.key] = found
    return steps


def first(steps, ready, last, again):
    """The step that should come next, by looking at all that are ready; `again`: those that came back."""
    ways, places = longest_ways(steps), list(steps)

    def worth(key):
        at_hand = last in steps[key].parents and key not in again
        return at_hand and not steps[key].epochs, ways[key] + 0.25 * at_hand, -places.index(key)

    return max(ready, key=worth)


@pytest.mark.parametrize("seed", range(8))
def test_the_order_is_the_one_that_a_look_at_all_steps_gives(seed):
    dice = random.Random(seed)
    steps = graph(dice, 60)
    schedule = Schedule(steps)
    done, running, later, lost, again = set(), [], set(), set(), set()
    while schedule.active:
        if dice.random() < 0.5:
            schedule.wake(0)
            again |= later
            later.clear()
        ready = [key for key in {*steps} - done - {*running} - later if done >= {*steps[key].parents}]
        last = dice.choice(["", *sorted(done)])
        key = taken(schedule, last)
        assert key == (first(steps, ready, last, again) if ready else None)
        running += [key] if ready else []
        if running and dice.random() < 0.7:
            key = running.pop(dice.randrange(len(running)))
            fate = dice.choice(["late", "lost", *8 * ["done"]])
            if fate == "late":
                schedule.postpone(key, until=0)
                later.add(key)
            elif fate == "lost" and key not in lost:
                assert not schedule.lose(key, died=True)
                lost.add(key)
                again.add(key)
            else:
                schedule.finish(key)
                done.add(key)
    assert done == {*steps}
    assert lost


def seconds(count):
    """The processor seconds for a plan like a study's: one network, and branches off it."""
    steps = [step("dense", epochs=9)]
    for number in range(count):
        steps += [step(f"cut{number}", "dense"), step(f"tune{number}", f"cut{number}", epochs=1)]
    began, last = time.process_time(), ""
    schedule = Schedule(todo(*steps))
    while (found := schedule.take(last)) is not None:
        schedule.finish(found.key)
        last = found.key
    return time.process_time() - began


def test_the_time_grows_as_the_steps_do():
    few, many = (min(seconds(count) for _ in range(3)) for count in (1000, 16_000))
    assert many < 4 * 16 * few, "a look at all steps, at each, would be 16 x 16"
