"""Reading parquet: what is right is read exactly, what is wrong is said with file, finding and remedy."""

import json

import data_kit as kit
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prunery.data import parquet, sources
from prunery.errors import DataError


def _read(root, **changes):
    facts = kit.facts(**changes)
    return parquet.read(facts, sources.below(facts, root))


@pytest.fixture
def root(tmp_path):
    kit.write(tmp_path / "tiny" / "plain")
    return tmp_path


def _train(root):
    return root / "tiny/plain/train-00001-of-00002.parquet"


def _rewrite(path, images=None, label=None, **columns):
    """The second train file with other images, labels or column names."""
    images = images or [kit.encoded(image) for image in kit.pixels("train")[6:]]
    pq.write_table(kit.table(images, kit.labels("train")[6:] if label is None else label, **columns), path)


def _refusal(root, *words, **changes):
    with pytest.raises(DataError) as caught:
        _read(root, **changes)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_pixels_labels_and_names_are_read_exactly(tmp_path, form):
    kit.write(tmp_path / "tiny" / "plain", form=form)
    read = _read(tmp_path)
    for split in ("train", "test"):
        x, y = read.splits[split]
        np.testing.assert_array_equal(x, kit.pixels(split))
        np.testing.assert_array_equal(y, kit.labels(split))
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
    assert read.class_names == kit.CLASSES


def test_grey_images_have_one_channel(tmp_path):
    grey = {split: kit.pixels(split)[:, :1] for split in kit.ROWS}
    for split, x in grey.items():
        name = f"{split}-00000-of-00001.parquet"
        pq.write_table(kit.table([kit.encoded(image) for image in x], kit.labels(split)), tmp_path / name)
    facts = kit.facts(shape=(1, 6, 5), folder=".")
    read = parquet.read(facts, sources.below(facts, tmp_path))
    np.testing.assert_array_equal(read.splits["train"][0], grey["train"])


def test_without_names_in_the_file_classes_are_numbered(root):
    for path in (root / "tiny/plain").iterdir():
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    assert _read(root).class_names == ("0", "1", "2")


def test_the_fingerprint_ignores_order_and_sees_every_pixel_and_label():
    x, y = kit.pixels("train"), kit.labels("train")
    known = parquet.fingerprint(x, y)
    assert parquet.fingerprint(x[::-1], y[::-1]) == known
    altered = x.copy()
    altered[3, 0, 0, 0] ^= 1
    assert parquet.fingerprint(altered, y) != known
    assert parquet.fingerprint(x, y[::-1]) != known


def test_images_that_are_not_the_published_ones_are_refused(root):
    right = {s: parquet.fingerprint(kit.pixels(s), kit.labels(s)) for s in kit.ROWS}
    _read(root, pixels=right)
    _rewrite(_train(root), label=kit.labels("train")[6:][::-1])
    _refusal(root, "train", "not those of the published set", "Copy the files again", pixels=right)


def test_a_file_cut_in_half(root):
    data = _train(root).read_bytes()
    _train(root).write_bytes(data[: len(data) // 2])
    _refusal(root, str(_train(root)), f"no whole parquet file ({len(data) // 2} bytes", "Copy the file again")


def test_an_empty_file(root):
    _train(root).write_bytes(b"")
    _refusal(root, str(_train(root)), "no whole parquet file (0 bytes")


def test_a_missing_column_is_named_with_those_there_are(root):
    _rewrite(_train(root), label_column="fine_label")
    _refusal(root, str(_train(root)), "no column 'label'", "image, fine_label")


def test_columns_of_another_type(root):
    _rewrite(_train(root), label=[str(i) for i in range(6)])
    _refusal(root, "'label' is string, not an integer")
    pq.write_table(pa.table({"image": [b""] * 6, "label": [0] * 6}), _train(root))
    _refusal(root, "'image' is binary, not a struct")


def test_an_image_of_another_size_or_mode(root):
    right = [kit.encoded(image) for image in kit.pixels("train")[6:]]
    turned = kit.encoded(kit.pixels("train")[0].transpose(0, 2, 1))
    _rewrite(_train(root), images=[*right[:4], turned, right[5]])
    _refusal(root, str(_train(root)), "row 4 is 6×5 RGB, not 5×6 RGB")
    _rewrite(_train(root), images=[kit.encoded(kit.pixels("train")[0][:1]), *right[1:]])
    _refusal(root, "row 0 is 5×6 L, not 5×6 RGB")


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_out_of_range(root, wrong):
    _rewrite(_train(root), label=[0, 1, wrong, 0, wrong, 1])
    _refusal(root, str(_train(root)), f"label {wrong} in row 2 is not in 0..2 (2 rows")


def test_an_empty_label_and_an_empty_image(root):
    _rewrite(_train(root), label=[0, 1, None, 0, 2, 1])
    _refusal(root, "1 of its labels are empty")
    _rewrite(_train(root), images=[*[kit.encoded(i) for i in kit.pixels("train")[6:11]], None])
    _refusal(root, "row 5 is empty")


def test_an_altered_byte_in_a_png_is_seen_by_its_checksum(root):
    data = bytearray(_train(root).read_bytes())
    at = data.index(b"IDAT") + 20
    data[at] ^= 1
    _train(root).write_bytes(data)
    _refusal(root, str(_train(root)), "row 0 was altered")


def test_bytes_that_are_no_image(root):
    _rewrite(_train(root), images=[b"GIF89a"] * 6)
    _refusal(root, str(_train(root)), "row 0 cannot be decoded")


def test_a_subset_is_refused_with_both_counts(root):
    path = root / "tiny/plain/test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).slice(0, 4), path)
    error = _refusal(root, str(path), "has 4 images, the whole set has 6")
    assert "from_dataset" in error.do


def test_decoding_says_so_in_the_log(root, caplog):
    with caplog.at_level("INFO", logger="prunery"):
        _read(root)
    assert caplog.messages[0] == "decoding tiny: 18 images, once"
    assert caplog.messages[-1].startswith("decoded tiny in ")


def test_metadata_of_another_form_is_no_error(root):
    for path in (root / "tiny/plain").iterdir():
        broken = {"huggingface": json.dumps({"info": {"features": {"label": {"names": ["one"]}}}})}
        pq.write_table(pq.read_table(path).replace_schema_metadata(broken), path)
    assert _read(root).class_names == ("0", "1", "2")
