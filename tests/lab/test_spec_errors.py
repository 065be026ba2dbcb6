"""What is wrong in a spec is said: where, what was found, what to do; all of it at once."""

import pytest
from lab_kit import raw

from prunery.errors import SpecError
from prunery.lab.spec import from_plain
from prunery.lab.spec_source import overridden

# an override of the small spec, and below it: where | what was found | what to do
CASES = """
methods.0.criterion=magnitud
    methods[0].criterion: criterion 'magnitud' | did you mean 'magnitude'? | random, magnitude, taylor
methods.0.criterion={name: grasp, temprature: 3}
    methods[0].criterion: option 'temprature' | did you mean 'temperature'? | Use its options
methods.0.criterion=3
    methods[0].criterion: the choice 3 | neither a name nor a mapping | Write a name
methods.0.scope=globl
    methods[0].scope: scope 'globl' | did you mean 'global'? | global, layer
methods.0.granularity=filters
    methods[0].granularity: granularity 'filters' | did you mean 'filter'? | weight, filter
methods.0.schedule=iterativ
    methods[0].schedule: schedule 'iterativ' | did you mean 'iterative'? | one_shot, iterative
methods.0.schedule={name: iterative, level: [0.5]}
    methods[0].schedule: option 'level' | did you mean 'levels'? | fraction, levels, rounds
methods.0.schedule={name: iterative, levels: [0.9, 0.5]}
    methods[0].schedule: a pruning schedule | [0.9, 0.5] | in ascending order
methods.0.schedule={name: iterative, levels: 3}
    methods[0].schedule: its options | not iterable | Correct
methods.0.schedule={name: iterative, fraction: 0.2, rounds: 3}
    methods[0].schedule: a pruning schedule | rounds | Give one of fraction
methods.0.recovery=fintune
    methods[0].recovery: recovery 'fintune' | did you mean 'finetune'? | none, finetune, rewind, reinit
methods.0.recovery=rewind(to=3)
    methods[0].recovery: recovery rewind(to=3) | only initialisation | Use to=0
methods.0.recovery.training=3
    methods[0].recovery: 'training' of recovery 'finetune' | not a mapping | training: {epochs: 5}
methods.0.recovery.training.epoch=3
    methods[0].recovery: the training setting 'epoch' | did you mean 'epochs'? | Use one of: epochs
methods.0.recovery.training.epochs=-3
    methods[0].recovery.training: the training settings | epochs: Input should be | Correct
methods.0.at=trainde
    methods[0].at: 'trainde' | did you mean 'trained'? | Choose 'init' or 'trained'
methods.0.floor=0.2
    methods[0].floor: a floor of 0.2 | sparsity 0.9 leaves a density of 0.1 | Lower the floor
methods.0={criterion: grasp, granularity: filter(norm='l2')}
    methods[0].granularity: norm 'l2' with criterion 'grasp' | scores are signed | Use norm 'l1'
methods.0.criterium=snip
    methods[0]: key 'criterium' | did you mean 'criterion'? | Use only: criterion, granularity
methods.0.exclude=fc*
    methods[0].exclude: 'fc*' | not a list | [a, b]
methods.0.sparsities=[]
    methods[0].sparsities: this list | empty | leave the key out
methods.1.criterion=magnitude
    methods[1]: the method name 'magnitude' | methods[0] has it too | a 'name' of its own
methods=[]
    methods: a list | empty | at least one
task.model=lenet30
    task.model: model 'lenet30' | did you mean 'lenet300'? | lenet5
task.data=digit
    task.data: data set 'digit' | did you mean 'digits'? | mnist
task.validation=1.5
    task.validation: a validation part of 1.5 | neither between 0 and 1 | 0.1
task.training.learning_rat=3
    task.training: key 'learning_rat' | did you mean 'learning_rate'? | Use only: epochs
task.training.optimizer=sdg
    task.training.optimizer: 'sdg' | did you mean 'sgd'? | 'adam' or 'adamw'
task.training={epochs: 1, optimizer: sgd}
    task.training: key 'learning_rate' | missing | Add it
task=3
    task: 3 | not a mapping | 'key: value'
sparsity=[0.5]
    key 'sparsity' | did you mean 'sparsities'? | Use only: version, name
model=lenet300
    key 'model' | there is 'task.model' | Use only
sparsities=[0.5, "90"]
    sparsities[1]: sparsity '90' | none of the accepted forms | '90%'
sparsities=[1.5]
    sparsities[0]: sparsity 1.5 | [0, 1) | 0.9
sparsities=[-0.1]
    sparsities[0]: sparsity -0.1 | [0, 1) | 0.9
sparsities=[0.9, 90%]
    sparsities: this list | 0.9 stands in it twice | Give each once
sparsities=[]
    sparsities: this list | empty | at least one
sparsities=90%
    sparsities: '90%' | not a list | [a, b]
seeds=[1, 1]
    seeds: this list | 1 stands in it twice | Give each once
seeds=0
    seeds: seeds 0 | neither | [0, 1, 2]
seeds=[true]
    seeds: seeds [True] | neither | [0, 1, 2]
version=2
    version: a spec of version 2 | reads version 1 | version: 1
name=a/b
    name: 'a/b' | only letters | another name
threads=0
    threads: 0 | greater than or equal to 1 | Correct
"""
PAIRS = list(zip(*[iter(CASES.strip().splitlines())] * 2, strict=True))


def message(data):
    with pytest.raises(SpecError) as caught:
        from_plain(data, source="s.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("override", "wanted"), PAIRS, ids=[override for override, _ in PAIRS])
def test_what_is_wrong_is_said_with_place_finding_and_remedy(override, wanted):
    place, found, do = (part.strip() for part in wanted.split(" | "))
    text = message(overridden(raw(), [override]))
    assert text.startswith(f"s.yaml: {place}")
    assert found in text
    assert do in text
    assert "\n" not in text, "one mistake, one line"


def test_all_mistakes_are_said_at_once():
    methods = [
        {"criterion": "randm"},
        {"criterion": "snip", "floor": 0.4},
        {"criterion": "snip", "name": "snip"},
    ]
    wrong = raw(nonsense=1, methods=methods, sparsities=[0.9, "90"], seeds=[])
    wrong["task"]["model"] = "lenet30"
    first, *lines = message(wrong).splitlines()
    assert first == "s.yaml: 6 things are wrong in this spec. Correct each of these"
    places = [
        "key 'nonsense'",
        "methods[0].criterion",
        "methods[1].floor",
        "sparsities[1]",
        "seeds",
        "task.model",
    ]
    assert sorted(line.removeprefix("s.yaml: ").split(":")[0] for line in lines) == sorted(places)


def test_choosing_on_validation_needs_some():
    data = overridden(raw(), ["task.validation=0", "task.training.select=validation"])
    text = "task.training.select: training with select: validation: validation is 0: no image is set aside"
    assert text in message(data)


def test_stopping_at_an_accuracy_needs_validation_and_no_cuts_inside():
    data = overridden(raw(), ["task.validation=0", "task.training.stop_at=90"])
    assert "task.training.stop_at: training with stop_at: 90" in message(data)
    data = overridden(raw(), ["task.training.stop_at=90", "methods.0.schedule=gradual"])
    assert "methods[0].schedule.training: stop_at in a training whose cuts lie inside it" in message(data)
    data = overridden(data, ["methods.0.schedule.training.stop_at=null"])
    assert from_plain(data).training_during(from_plain(data).methods[0]).stop_at is None


def test_missing_parts_are_named():
    text = message({"name": "x"})
    assert all(f"key '{key}': it is missing" in text for key in ("task", "methods", "sparsities", "seeds"))
