"""A user's own tensors, datasets and factories."""

import data_kit as kit
import numpy as np
import pytest
import torch
from custom_sets import X, Y, tensors
from PIL import Image

from prunery.data.sets import from_dataset, from_tensors, load
from prunery.errors import DataError


def _refusal(*words, call=from_tensors, args=(X, Y, X, Y), **options):
    with pytest.raises(DataError) as caught:
        call(*args, **options)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_uint8_tensors_are_taken_as_they_are():
    made = from_tensors(X, Y, X[:1], Y[:1], name="mine")
    assert torch.equal(made.train.x, X)
    assert torch.equal(made.test.y, Y[:1])
    assert made.train.y.dtype == torch.int64
    assert (made.name, made.classes, made.class_names, made.revision) == ("mine", 2, ("0", "1"), "given")


def test_floats_are_rounded_to_the_nearest_of_256_levels():
    x = torch.tensor([0.0, 1 / 255, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0]).view(1, 1, 2, 3)
    made = from_tensors(x, [0], x.half(), np.array([0], np.int16))
    assert made.train.x.flatten().tolist() == [0, 1, 0, 1, 254, 255]
    exact = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(from_tensors(exact / 255, [0], exact, [0]).train.x, exact)


def test_images_without_a_channel_axis_get_one():
    assert from_tensors(X[:, 0], Y, X[:, 0], Y).shape == (1, 4, 5)


def test_the_statistics_are_those_of_the_train_images():
    x = torch.tensor([0, 255, 255, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    made = from_tensors(x, [0], 255 - x, [0])
    assert made.mean == (0.75,)
    assert made.std == pytest.approx((0.1875**0.5,), rel=1e-15)
    flat = torch.full((2, 1, 2, 2), 51, dtype=torch.uint8)
    assert from_tensors(flat, Y, flat, Y).std == (1.0,)  # a constant channel


def test_the_content_hash_sees_every_value():
    known = from_tensors(X, Y, X, Y).content
    assert from_tensors(X.clone(), Y, X, Y).content == known
    assert from_tensors(X, Y.flip(0), X, Y).content != known
    altered = X.clone()
    altered[1, 2, 3, 4] ^= 1
    assert from_tensors(X, Y, altered, Y).content != known


def test_wrong_tensors_are_refused():
    _refusal("train images", "[-1, 1]", args=(torch.tensor([[[-1.0, 1.0]]]), [0], X, Y))
    _refusal("test images", "nan", args=(X, Y, torch.full((1, 3, 4, 5), torch.nan), [0]))
    _refusal("torch.int64", args=(X.long(), Y, X, Y))
    _refusal("shape (2, 60)", args=(X.view(2, 60), Y, X, Y))
    _refusal("3 labels for 2 images", args=(X, [0, 1, 1], X, Y))
    _refusal("0 labels for 0 images", args=(X, Y, X[:0], Y[:0]))
    _refusal("torch.float32", args=(X, [0.0, 1.0], X, Y))
    _refusal("(3, 4, 5)", "(3, 4, 4)", args=(X, Y, X[..., :4], Y))
    _refusal("lie in 0..1, and there are 1 classes", classes=1)
    _refusal("lie in -1..1", args=(X, [-1, 1], X, Y))
    _refusal("2 for 3 classes", classes=3, class_names=("a", "b"))


@pytest.mark.parametrize("form", ["pil", "array", "tensor"])
def test_items_of_every_form_give_the_same_images(form):
    made = {
        "pil": lambda image: Image.fromarray(image.transpose(1, 2, 0)),
        "array": lambda image: image.transpose(1, 2, 0),
        "tensor": torch.from_numpy,
    }[form]
    items = [(made(x), y) for x, y in zip(kit.pixels("train"), kit.labels("train"), strict=True)]
    read = from_dataset(items, items[:3], class_names=kit.CLASSES)
    assert torch.equal(read.train.x, torch.tensor(kit.pixels("train")))
    assert torch.equal(read.train.y, torch.tensor(kit.labels("train")))
    assert (len(read.test), read.class_names) == (3, kit.CLASSES)


def test_items_may_be_mappings():
    rows = [{"img": Image.fromarray(kit.pixels("test")[0, 0]), "fine": label} for label in (1, 0)]
    assert from_dataset(rows, rows, image="img", label="fine").train.y.tolist() == [1, 0]
    _refusal("item 0 of the train dataset", "'img', 'fine'", call=from_dataset, args=(rows, rows))


def test_wrong_items_are_refused():
    grey, wider = np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)
    _refusal("item 1", "(4, 5)", "(4, 4)", call=from_dataset, args=([(grey, 0), (wider, 0)], [(grey, 0)]))
    _refusal("its label is 'ant'", call=from_dataset, args=([(grey, "ant")], [(grey, 0)]))
    _refusal("its label is 0.5", call=from_dataset, args=([(grey, 0.5)], [(grey, 0)]))
    _refusal("it is a ndarray", call=from_dataset, args=([grey], [grey]))
    _refusal("mode 'P'", call=from_dataset, args=([(Image.new("P", (4, 4)), 0)], [(grey, 0)]))
    _refusal("no items", call=from_dataset, args=([(grey, 0)], []))
    _refusal("its image has 1 axes", call=from_dataset, args=([(grey[0], 0)], [(grey, 0)]))
    _refusal("its image has 4 axes", call=from_dataset, args=([(grey[None, None], 0)], [(grey, 0)]))
    _refusal("generator has no length", call=from_dataset, args=((x for x in [(grey, 0)]), [(grey, 0)]))


class Cut:
    """Two images, the second of which cannot be read."""

    def __len__(self):
        return 2

    def __getitem__(self, row):
        if row:
            raise OSError(f"image {row} is cut")
        return np.zeros((4, 4), np.uint8), 0


class Endless(Cut):
    """A dataset that does not know its length."""

    def __len__(self):
        raise TypeError("no end")


def test_a_factory_gives_a_set_or_two_datasets():
    assert load("custom_sets:tensors").content == tensors().content
    assert torch.equal(load("custom_sets:datasets").train.x, X)


def test_a_factory_that_fails_is_named():
    _refusal("'custom_sets:broken'", "RuntimeError: no disk", call=load, args=("custom_sets:broken",))
    _refusal("returned a NoneType", call=load, args=("custom_sets:nothing",))
    _refusal(
        "there is no module 'no_such_module'",
        "in the folder that holds it",
        call=load,
        args=("no_such_module:data",),
    )
    _refusal("'custom_sets' has no 'none_such'", call=load, args=("custom_sets:none_such",))
    _refusal("it is Tensor, not a function or class", call=load, args=("custom_sets:X",))
    _refusal("SystemExit: 3", call=load, args=("custom_sets:ends",))
    _refusal("returned a tuple of 3", "a pair of datasets", call=load, args=("custom_sets:three_parts",))
    _refusal("missing 1 required positional argument", call=load, args=("custom_sets:wants_a_folder",))


def test_what_a_users_dataset_raises_is_an_error_of_ours():
    grey = np.zeros((4, 4), np.uint8)
    good = [(grey, 0)]
    _refusal("item 1 of the train", "OSError: image 1 is cut", call=from_dataset, args=(Cut(), good))
    _refusal("the test dataset", "its length raises TypeError", call=from_dataset, args=(good, Endless()))
    _refusal("its label is tensor([1, 2])", call=from_dataset, args=([(grey, torch.tensor([1, 2]))], good))
    _refusal("its label is inf", call=from_dataset, args=([(grey, float("inf"))], good))
    _refusal("the train dataset", "raises", call=from_dataset, args=([(grey, 1 << 80)], good))
    _refusal("item 0 of the train", "raises", call=from_dataset, args=([([grey, "a"], 0)], good))


def test_what_is_no_tensor_is_an_error_of_ours():
    for wrong in (None, "images", [[1], [2, 3]], X.to("meta"), X.float().to_sparse()):
        _refusal("the data set 'own'", "reading it raises", args=(wrong, Y, X, Y))
    _refusal("reading it raises", args=(X, None, X, Y))
    for classes in ("two", 0, -1, 2.0):
        _refusal(f"a data set of {classes!r} classes", classes=classes)
    assert from_tensors(X, Y, X, Y, classes=np.int64(3)).classes == 3
    assert from_tensors(X, Y, X, Y, class_names=(n for n in "ab")).class_names == ("a", "b")


def test_images_of_one_channel_have_the_strides_of_their_axes():
    x = torch.arange(2 * 9 * 4 * 5, dtype=torch.uint8).reshape(2, 9, 4, 5, 1)
    train, test = (part.permute(0, 3, 1, 2) for part in x)
    made = from_tensors(train, torch.arange(9) % 3, test, torch.arange(9) % 3)
    assert made.train.x.stride() == made.test.x.stride() == (20, 20, 5, 1)
    assert torch.equal(made.train.x[:, 0], x[0, ..., 0])
    assert load("digits").train.x.stride() == (64, 64, 8, 1)


@pytest.mark.parametrize("low", [1, 2, 100])
def test_labels_that_are_not_numbered_from_0_are_refused(low):
    labels = torch.tensor([low, low + 1])
    _refusal("no image is of class 0", f"{low}..{low + 1}", args=(X, labels, X, labels))
    _refusal("no image is of class 0", call=from_dataset, args=([(X[0], low)], [(X[1], low + 1)]))
    assert from_tensors(X, labels, X, labels, classes=low + 2).classes == low + 2
    names = tuple(map(str, range(low + 2)))
    assert from_tensors(X, labels, X, labels, class_names=names).class_names == names


def test_one_split_may_lack_class_0():
    ones = torch.ones_like(Y)
    assert from_tensors(X, Y, X, ones).classes == 2
