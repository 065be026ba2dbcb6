"""The zoo: every size by hand, seeded first weights, and factories of the user's own."""

import copy
from math import prod

import pytest
import torch
from torch import nn

from prunery.errors import ModelError
from prunery.models.build import FAMILIES, build
from prunery.models.names import MODELS


def vgg(*widths):
    pairs = zip((3, *widths), widths, strict=False)
    return sum(9 * a * b for a, b in pairs) + 512 * 10


def stage(channels, width, blocks):
    """Basic blocks: the first conv changes the width, with a 1x1 shortcut where it does."""
    shortcut = channels * width if channels != width else 0
    return 9 * channels * width + 9 * width * width * (2 * blocks - 1) + shortcut


def bottlenecks(channels, width, blocks):
    first = channels * width + 9 * width * width + 4 * width * width + channels * 4 * width
    other = 4 * width * width + 9 * width * width + 4 * width * width
    return first + (blocks - 1) * other


def basic(blocks):
    return sum(
        stage(a, b, n) for a, b, n in zip((64, 64, 128, 256), (64, 128, 256, 512), blocks, strict=True)
    )


def narrow(n):
    """He et al. 2016, section 4.2: 6n + 2 layers, no weights in the shortcuts."""
    return (
        9 * 3 * 16
        + 2 * n * 9 * 16 * 16
        + 9 * 16 * 32 + (2 * n - 1) * 9 * 32 * 32
        + 9 * 32 * 64 + (2 * n - 1) * 9 * 64 * 64
        + 64 * 10
    )  # fmt: skip


BOTTLENECKS = (
    bottlenecks(64, 64, 3) + bottlenecks(256, 128, 4) + bottlenecks(512, 256, 6) + bottlenecks(1024, 512, 3)
)
A = [64, 128, 256, 256, 512, 512, 512, 512]
B = [64, 64, 128, 128, 256, 256, 512, 512, 512, 512]
D = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
E = [64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512]

WEIGHTS = {
    "lenet300": 784 * 300 + 300 * 100 + 100 * 10,  # 266,200
    "fc": 784 * 100 + 4 * 100 * 100 + 100 * 10,  # 119,400
    "lenet5": 6 * 25 + 16 * 6 * 25 + 16 * 25 * 120 + 120 * 84 + 84 * 10,  # 61,470
    "lenet5-caffe": 20 * 25 + 50 * 20 * 25 + 50 * 16 * 500 + 500 * 10,  # 430,500
    "cnn8": 8 * 3 * 9 + 8 * 8 * 9 + 8 * 8 * 9 + 8 * 16 * 10,  # 2,648
    "cnn8_bn": 8 * 3 * 9 + 8 * 8 * 9 + 8 * 8 * 9 + 8 * 64 * 10,  # 6,488
    **{f"vgg11{norm}": vgg(*A) for norm in ("", "_bn")},
    **{f"vgg13{norm}": vgg(*B) for norm in ("", "_bn")},
    **{f"vgg16{norm}": vgg(*D) for norm in ("", "_bn")},
    **{f"vgg19{norm}": vgg(*E) for norm in ("", "_bn")},
    "resnet18": 27 * 64 + basic((2, 2, 2, 2)) + 512 * 10,
    "resnet34": 27 * 64 + basic((3, 4, 6, 3)) + 512 * 10,
    "resnet50": 27 * 64 + BOTTLENECKS + 2048 * 10,
    "resnet18_imagenet": 147 * 64 + basic((2, 2, 2, 2)) + 512 * 1000,
    "resnet34_imagenet": 147 * 64 + basic((3, 4, 6, 3)) + 512 * 1000,
    "resnet50_imagenet": 147 * 64 + BOTTLENECKS + 2048 * 1000,
    **{f"resnet{6 * n + 2}": narrow(n) for n in (1, 3, 5, 7, 9, 18)},
}

# All parameters, as they are known in print: biases and the two numbers per channel of batch norm included.
KNOWN_TOTALS = {
    "cnn8": 2_648 + 3 * 8 + 10,
    "cnn8_bn": 6_488 + 3 * 2 * 8 + 10,
    "lenet300": 266_610,
    "lenet5": 61_706,
    "lenet5-caffe": 431_080,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet18_imagenet": 11_689_512,
    "resnet34_imagenet": 21_797_672,
    "resnet50_imagenet": 25_557_032,
    "resnet8": 75_290,  # by hand: 432 + 4 608 + 13 824 + 55 296 + 650, and 480 of batch norm
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}


def weights(model):
    return {name: p for name, p in model.named_parameters() if p.ndim > 1}


def test_every_model_is_counted_here():
    assert set(WEIGHTS) == set(MODELS)
    assert {facts.family for facts in MODELS.values()} == set(FAMILIES)


@pytest.mark.parametrize("name", MODELS)
def test_weights_by_hand_and_output_shape(name):
    facts = MODELS[name]
    model = build(name, device="meta")
    assert sum(w.numel() for w in weights(model).values()) == WEIGHTS[name]
    assert model(torch.empty(3, *facts.shape, device="meta")).shape == (3, facts.classes)
    assert model.training
    assert all(p.is_meta for p in model.parameters())


def test_the_numbers_that_the_documentation_gives():
    assert (WEIGHTS["vgg16"], WEIGHTS["fc"], WEIGHTS["cnn8"]) == (14_715_584, 119_400, 2_648)
    assert (WEIGHTS["lenet5"], WEIGHTS["lenet5-caffe"]) == (61_470, 430_500)


@pytest.mark.parametrize(("name", "total"), KNOWN_TOTALS.items())
def test_known_totals(name, total):
    assert sum(p.numel() for p in build(name, device="meta").parameters()) == total


@pytest.mark.parametrize("name", ["vgg11", "vgg16", "vgg19"])
def test_batch_norm_replaces_the_convolutions_biases(name):
    plain, normed = build(name, device="meta"), build(f"{name}_bn", device="meta")
    channels = sum(m.out_channels for m in plain.modules() if isinstance(m, nn.Conv2d))
    count = {m: sum(p.numel() for p in m.parameters()) for m in (plain, normed)}
    assert count[normed] - count[plain] == channels  # a scale and a shift for a bias


def test_vgg16_has_the_familiar_names():
    plain, normed = (list(weights(build(name, device="meta"))) for name in ("vgg16", "vgg16_bn"))
    assert plain[:3] == ["features.0.weight", "features.2.weight", "features.5.weight"]
    assert plain[-2:] == ["features.28.weight", "classifier.weight"]
    assert normed[:3] == ["features.0.weight", "features.3.weight", "features.7.weight"]


@pytest.mark.parametrize(
    ("name", "shape", "classes", "expected"),
    [
        ("lenet300", (3, 32, 32), 100, 3072 * 300 + 30_000 + 100 * 100),
        ("fc", (1, 8, 8), 10, 64 * 100 + 40_000 + 1_000),
        ("lenet5", (3, 32, 32), 100, 6 * 75 + 2_400 + 400 * 120 + 10_080 + 8_400),  # no padding at 32 x 32
        ("lenet5", (1, 28, 20), 10, 150 + 2_400 + 16 * 5 * 3 * 120 + 10_080 + 840),
        ("cnn8", (1, 28, 28), 10, 72 + 576 + 576 + 8 * 9 * 10),
        ("cnn8", (1, 8, 8), 10, 72 + 576 + 576 + 8 * 10),
        ("vgg16", (1, 64, 96), 7, 14_710_464 - 2 * 9 * 64 + 512 * 2 * 3 * 7),
        ("resnet20", (1, 28, 28), 10, narrow(3) - 2 * 9 * 16),
        ("resnet18", (3, 64, 64), 200, WEIGHTS["resnet18"] + 512 * 190),
    ],
)
def test_other_channels_sizes_and_classes(name, shape, classes, expected):
    model = build(name, shape=shape, classes=classes, seed=3)
    assert sum(w.numel() for w in weights(model).values()) == expected
    out = model.eval()(torch.randn(2, *shape))
    assert out.shape == (2, classes)
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("name", MODELS)
def test_smallest_image_runs_and_one_pixel_less_is_an_error(name):
    channels, smallest = MODELS[name].shape[0], MODELS[name].smallest
    shape = (channels, smallest, smallest)
    assert build(name, shape=shape, device="meta").eval()(torch.empty(2, *shape, device="meta")).ndim == 2
    if smallest > 1:
        for shape in ((channels, smallest - 1, smallest), (channels, smallest, smallest - 1)):
            with pytest.raises(ModelError, match=f"{smallest} x {smallest}.*[Tt]ake a smaller model"):
                build(name, shape=shape, device="meta")


@pytest.mark.parametrize(("shape", "classes"), [((3, 32), 10), ((0, 32, 32), 10), ((3, 32, 32), 0)])
def test_no_image_and_no_class_are_errors(shape, classes):
    with pytest.raises(ModelError):
        build("vgg11", shape=shape, classes=classes, device="meta")


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_first_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = build(name, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    two, other = build(name, seed=5).state_dict(), build(name, seed=6).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in ("conv1.weight", "fc.weight") if key in one)
    more = build(name, seed=5, classes=3).state_dict()
    assert torch.equal(more["conv1.weight"], one["conv1.weight"])


def test_layers_of_one_shape_differ():
    model = build("fc", seed=0)
    assert not torch.equal(model.fc2.weight, model.fc3.weight)


@pytest.mark.parametrize("name", ["lenet300", "vgg11", "vgg11_bn", "resnet18", "resnet20"])
def test_first_weights_follow_the_stated_rule(name):
    model = build(name, seed=0)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for module in layers:
        fan_in = prod(module.weight.shape[1:])
        gain = 1 if module is layers[-1] else 2
        wanted = (gain / fan_in) ** 0.5
        # the deviation of n draws' standard deviation is about wanted / sqrt(2n); five of them
        assert (
            abs(float(module.weight.detach().std()) - wanted)
            < 5 * wanted / (2 * module.weight.numel()) ** 0.5
        )
        assert module.bias is None or not module.bias.any()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert not module.bias.any()
            assert not module.running_mean.any()
            assert bool((module.running_var == 1).all())


@pytest.mark.parametrize("name", ["fc", "lenet5", "cnn8", "vgg11_bn", "resnet20", "resnet50"])
def test_plain_modules_copy_export_and_train(name):
    model = build(name, seed=0).eval()
    x = torch.randn(2, *MODELS[name].shape)
    out = model(x)
    assert torch.equal(copy.deepcopy(model)(x), out)
    exported = torch.export.export(model, (x,)).module()
    assert torch.allclose(exported(x), out, atol=1e-5)
    assert len({id(m) for m in model.modules()}) == len(list(model.modules()))
    assert not any(getattr(m, "inplace", False) for m in model.modules())
    model.train()(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_option_a_shortcut_subsamples_and_pads_with_zeros():
    block = build("resnet20", seed=0).layer2[0]
    x = torch.arange(2 * 16 * 5 * 5, dtype=torch.float32).view(2, 16, 5, 5)
    short = block.downsample(x)
    assert short.shape == (2, 32, 3, 3)
    assert torch.equal(short[:, :16], x[:, :, [0, 2, 4]][:, :, :, [0, 2, 4]])
    assert not short[:, 16:].any()
    assert block(x).shape == short.shape


def test_imagenet_form_has_the_wide_stem():
    model = build("resnet18_imagenet", device="meta")
    x = torch.empty(1, 3, 224, 224, device="meta")
    assert model.maxpool(model.relu(model.bn1(model.conv1(x)))).shape == (1, 64, 56, 56)
    assert model.layer4[0].conv1.stride == (2, 2)
    assert not hasattr(build("resnet18", device="meta"), "maxpool")


def test_bottleneck_has_its_stride_in_the_middle():
    block = build("resnet50", device="meta").layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.conv3.stride) == ((1, 1), (2, 2), (1, 1))
