"""Image sets by name: looked up, decoded once, kept.

The order of look-up: the `data_dir` argument, the mirror in PRUNERY_DATA, the cache, the public repository.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

from prunery.data import cache, digits, hub, names, parquet, sources
from prunery.data.custom import from_dataset, from_tensors
from prunery.data.images import Images, ImageSet, image_set
from prunery.data.names import DATASETS, SPLITS, Facts
from prunery.data.sources import Source
from prunery.errors import DataError
from prunery.factories import as_ours, resolve, working_folder

__all__ = ["ImageSet", "Images", "from_dataset", "from_tensors", "load"]

log = logging.getLogger(__name__)


def load(name: str, *, data_dir: str | Path | None = None, cache_dir: str | Path | None = None) -> ImageSet:
    """Return the image set of that name, pixels uint8 in the order of its files, on the CPU.

    `name` is one of `prunery.data.names.DATASETS`, or "package.module:factory" for a function that returns
    an ImageSet or two map-style datasets (train, test). `data_dir` is a local mirror; if it is given, the
    set must be in it. `cache_dir` is where decoded sets are kept (PRUNERY_CACHE by default).

    ChoiceError: no set of that name. DataError: it is missing, cut, altered, or of another form.
    """
    names.check(name)
    if name not in DATASETS:
        return _from_factory(name)
    facts = DATASETS[name]
    if not facts.repository:
        return digits.load()
    folder = cache.root(cache_dir)
    source = sources.local(facts, data_dir)
    if source is not None:
        return _from_source(facts, source, folder)
    return _from_cache(facts, folder) or _from_hub(facts, folder)


def _from_source(facts: Facts, source: Source, folder: Path) -> ImageSet:
    """Return the decoded copy of these files from the cache, made first if it is not there or was altered."""
    seen = cache.seen_file(
        facts, source, folder
    )  # named before the files are read: they may change meanwhile
    key = cache.key_of(facts, source, seen)
    made = _opened(facts, source, key, folder)
    cache.note(seen, key)
    return made


def _opened(facts: Facts, source: Source, key: str, folder: Path) -> ImageSet:
    path = cache.file_of(facts, key, folder)
    if path.exists():
        try:
            return cache.load(path)
        except DataError as error:
            log.warning("%s; decoding the source files again", error.found)
    cache.check_writable(folder)
    decoded = parquet.read(facts, source)
    train, test = (Images(*map(torch.from_numpy, decoded.splits[split])) for split in SPLITS)
    revision = source.revision or f"files:{key}"
    made = image_set(facts.name, train, test, class_names=decoded.class_names, revision=revision)
    cache.save(made, path)
    return made


def _from_cache(facts: Facts, folder: Path) -> ImageSet | None:
    for path in cache.kept(facts, folder):
        try:
            return cache.load(path)
        except DataError as error:
            log.warning("%s: %s; looking further", error.asked, error.found)
    return None


def _from_hub(facts: Facts, folder: Path) -> ImageSet:
    try:
        return _from_source(facts, hub.snapshot(facts), folder)
    except hub.HubError as error:
        raise DataError(
            f"data set {facts.name!r}",
            f"{_looked(facts, folder)}, and its repository {facts.repository} could not be had ({error})",
            f"set {sources.VARIABLE} to a folder with {facts.path}/*.parquet, or load the set once with a "
            "network; 'digits' needs neither",
        ) from error


def _looked(facts: Facts, folder: Path) -> str:
    mirror = os.environ.get(sources.VARIABLE)
    first = f"it is not in {sources.VARIABLE} ({mirror})" if mirror else f"{sources.VARIABLE} is not set"
    altered = cache.kept(facts, folder)
    second = (
        f"the copy in the cache was altered ({altered[0]})"
        if altered
        else f"no copy is in the cache ({folder})"
    )
    return f"{first}, {second}"


def _from_factory(name: str) -> ImageSet:
    asked = f"data set {name!r}"
    factory = resolve(asked, name, DataError)
    with as_ours(asked, "correct the factory", DataError), working_folder():
        made = factory()
    return _checked(name, made)


def _checked(name: str, made: Any) -> ImageSet:
    if isinstance(made, ImageSet):
        return made
    if isinstance(made, tuple) and len(made) == 2:
        return from_dataset(*made, name=name)
    size = f" of {len(made)}" if isinstance(made, tuple | list) else ""
    raise DataError(
        f"data set {name!r}",
        f"its factory returned a {type(made).__name__}{size}",
        "return an ImageSet (prunery.data.sets.from_tensors) or a pair of datasets (train, test)",
    )
