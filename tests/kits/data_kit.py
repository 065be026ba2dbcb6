"""A set of 18 small images as parquet files, to be read whole, cut, altered and served."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from prunery.data.names import Facts

CLASSES = ("ant", "bee", "cow")
SHAPE = (3, 6, 5)  # not square, so that a swap of axes is seen
ROWS = {"train": 12, "test": 6}


def facts(**changes):
    known = {"name": "tiny", "classes": 3, "shape": SHAPE, "rows": ROWS, "citation": "", "licence": ""}
    return Facts(**{**known, "repository": "someone/tiny", "folder": "plain", **changes})


def pixels(split):
    """uint8 (n, C, H, W): every value differs between neighbours along every axis."""
    n = ROWS[split]
    values = np.arange(n * 3 * 6 * 5) * 7 + (3 if split == "test" else 0)
    return (values % 251).astype(np.uint8).reshape(n, *SHAPE)


def labels(split):
    return np.arange(ROWS[split]) % 3


def encoded(image, form="PNG"):
    """One (C, H, W) image as bytes."""
    data = io.BytesIO()
    array = image.transpose(1, 2, 0) if image.shape[0] == 3 else image[0]
    Image.fromarray(array).save(data, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    return data.getvalue()


def table(images, label, *, image_column="image", label_column="label", names=CLASSES):
    """A table as dataset libraries write it; `images` are encoded bytes."""
    rows = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    made = pa.table({image_column: pa.array(rows, kind), label_column: pa.array(label)})
    features = {image_column: {"_type": "Image"}, label_column: {"names": list(names), "_type": "ClassLabel"}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write(folder, *, form="PNG"):
    """The whole set, train in two files; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, shards in (("train", 2), ("test", 1)):
        images = [encoded(image, form) for image in pixels(split)]
        size = ROWS[split] // shards
        for i in range(shards):
            part = slice(i * size, (i + 1) * size)
            name = f"{split}-{i:05d}-of-{shards:05d}.parquet"
            pq.write_table(table(images[part], labels(split)[part]), folder / name, compression="none")
    return folder
