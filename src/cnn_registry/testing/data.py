"""Checks of datasets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.data.dataset import ImageDataset, Indices
from cnn_registry.data.form import MODES
from cnn_registry.data.image import decode
from cnn_registry.errors import DownloadError, reason_of
from cnn_registry.registry.catalogue import SESSION
from cnn_registry.registry.spec import DatasetSpec
from cnn_registry.system.isolation import isolated

from .declared import common_faults, refuse_faults, refuse_heavy_import
from .fresh_import import fresh_import
from .outcome import Causes, CheckSkipped, failed

LOOKED_AT = 200
"""Number of images that are decoded, spread evenly over the dataset."""

EDGE = 32


class DataSubject:
    """A dataset under examination.

    Args:
        spec: the dataset's spec.
        source: the archive or folder that holds it; ``None`` if it finds or downloads its own.

    Attributes:
        causes: what keeps several checks from running.
    """

    def __init__(self, spec: DatasetSpec, source: Path | None) -> None:
        self.spec = spec
        self._source = source
        self.causes = Causes()

    def load(self) -> Any:
        """What the loader returns.

        Raises:
            CheckSkipped: the data could not be downloaded.
        """
        try:
            with isolated(f"The loader of the dataset {self.spec.name!r}"):
                return self.spec.build(self._source)
        except DownloadError as error:
            raise CheckSkipped(f"the data is not available: {error}") from error

    @cached_property
    def loaded(self) -> ImageDataset:
        """The dataset.

        Raises:
            CheckFailed, CheckSkipped: it does not load. One check fails, the others are skipped.
        """
        fix = "The loader gets the argument of --data, or None, and returns a cnn_registry.data.ImageDataset."
        came = "it does not load"
        try:
            loaded = self.load()
        except CheckSkipped:
            raise
        except (Exception, SystemExit) as error:  # a loader may be anyone's code
            cause = reason_of(error)
            raise self.causes.meet(came, failed("a dataset that loads", cause, fix)) from error
        if not isinstance(loaded, ImageDataset):
            raise self.causes.meet(came, failed("an ImageDataset", type(loaded).__name__, fix))
        return loaded

    @property
    def looked_at(self) -> list[int]:
        """The positions of the images that are decoded."""
        return sorted(set(np.linspace(0, len(self.loaded.images) - 1, LOOKED_AT).astype(int).tolist()))


def check_light_import(subject: DataSubject) -> None:
    """Declaring the dataset imports neither Keras nor TensorFlow, as a new process shows."""
    spec = subject.spec
    name = f"{spec.provider.distribution or SESSION}:{spec.name}"
    lookup = ("cnn_registry.registry.datasets", "get_dataset_spec")
    refuse_heavy_import(spec, fresh_import(spec.build.__module__, lookup, name), subject.causes)


def check_spec(subject: DataSubject) -> None:
    """The spec is complete and well-formed."""
    refuse_faults(_faults(subject.spec))


def _faults(spec: DatasetSpec) -> Iterator[tuple[str, str]]:
    yield from common_faults(spec)
    if not spec.parameter and (spec.num_classes < 1 or spec.num_images < spec.num_classes):
        yield "a positive num_classes, and at least as many num_images", f"{spec.num_classes} and {spec.num_images}"
    edges = spec.image_size if isinstance(spec.image_size, tuple) else (spec.image_size or 1,)
    if not all(type(edge) is int and edge > 0 for edge in edges) or len(edges) > 2 or spec.image_size == 0:
        yield "a positive image_size, (height, width), or None if the images vary in size", str(spec.image_size)


def check_docstring(subject: DataSubject) -> None:
    """The loader has a docstring."""
    if not (inspect.getdoc(subject.spec.build) or "").strip():
        raise failed("a docstring", "none", "Describe in the loader what it reads, and what the argument of --data is.")


def check_loads(subject: DataSubject) -> None:
    """The loader returns an ImageDataset."""
    _ = subject.loaded


def check_counts(subject: DataSubject) -> None:
    """There are as many classes and images as the spec says, and each image has an ID."""
    spec, loaded = subject.spec, subject.loaded
    if not spec.parameter:  # it declares nothing about what its parameter chooses
        declared = {"num_classes": spec.num_classes, "num_images": spec.num_images, "image_size": spec.image_size}
        found = {
            "num_classes": len(loaded.class_names),
            "num_images": len(loaded.images),
            "image_size": loaded.image_size,
        }
        if found != declared:
            raise failed(f"{declared} as declared", str(found), "Correct the declaration or the loader.")
    if not len(set(loaded.ids)) == len(loaded.ids) == len(loaded.labels) == len(loaded.images):
        counts = f"{len(set(loaded.ids))} different IDs, {len(loaded.labels)} labels, {len(loaded.images)} images"
        raise failed("a unique ID and a label for each image", counts, "The path below the root is a good ID.")


def check_class_names(subject: DataSubject) -> None:
    """The names of the classes are different, and none is empty."""
    names = subject.loaded.class_names
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise failed("names of classes", repr(names), "Give each class a name for people to read.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise failed("different names of classes", f"{twice[0]!r} twice", "Predictions are reported by these names.")


def check_labels(subject: DataSubject) -> None:
    """The labels are positions of class names, or rows of 0 and 1 for several labels, and every class has an image."""
    labels, classes = np.asarray(subject.loaded.labels), len(subject.loaded.class_names)
    fix = "labels[i] is the position in class_names of the class of image i; or its row of 0 and 1, (classes,)."
    if labels.ndim == 2:
        if labels.shape[1] != classes or not np.isin(labels, (0, 1)).all():
            raise failed(f"labels of 0 and 1 (images, {classes})", f"{labels.dtype} {labels.shape}", fix)
        if absent := np.flatnonzero(~labels.any(axis=0)).tolist():
            raise failed("an image of every class", f"none of {subject.loaded.class_names[absent[0]]!r}", fix)
        return
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise failed("integer labels (images,)", f"{labels.dtype} {labels.shape}", fix)
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= classes:
        raise failed(f"labels from 0 to {classes - 1}", f"{labels.min()} to {labels.max()}", fix)
    if empty := sorted(set(range(classes)) - set(labels.tolist())):
        raise failed("an image of every class", f"none of {subject.loaded.class_names[empty[0]]!r}", fix)


def check_order(subject: DataSubject) -> None:
    """Loading twice gives the same images in the same order."""
    first, second = subject.loaded, subject.load()
    for what in ("class_names", "ids"):
        if getattr(first, what) != getattr(second, what):
            raise failed(f"the same {what} when it is loaded again", "different ones", "Sort the files of a folder.")
    if not np.array_equal(first.labels, second.labels):
        raise failed("the same labels when it is loaded again", "different ones", "Sort the files of a folder.")


def check_images(subject: DataSubject) -> None:
    """The images are 8-bit grey, RGB or RGBA, or files that can be decoded."""
    images = subject.loaded.images
    fix = "Give files that Pillow reads, or one array with all images."
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in MODES:
            raise failed("uint8 (images, height, width, 1, 3 or 4)", f"{images.dtype} {images.shape}", fix)
        return
    for position in subject.looked_at:
        decode(images[position], EDGE)


def check_splits(subject: DataSubject) -> None:
    """The parts of each split are disjoint, and within the dataset."""
    loaded = subject.loaded
    if loaded.default_split is not None and loaded.default_split not in loaded.splits:
        raise failed(f"the default split {loaded.default_split!r}", f"{sorted(loaded.splits)}", "Name one of them.")
    if not loaded.splits:
        raise CheckSkipped("it brings no splits")
    for name, split in loaded.splits.items():
        parts = {"train": split.train, "val": split.val, "test": split.test}
        _check_parts(name, parts, len(loaded.images))


def _check_parts(name: str, parts: dict[str, Indices], count: int) -> None:
    fix = "Each part is an int64 array of positions; train and val are not empty."
    together = np.concatenate([np.asarray(part).ravel() for part in parts.values()])
    if not np.issubdtype(together.dtype, np.integer) or not len(parts["train"]) or not len(parts["val"]):
        sizes = ", ".join(f"{part} {len(indices)}" for part, indices in parts.items())
        raise failed(f"positions to train on and to validate on in the split {name!r}", sizes, fix)
    if together.min() < 0 or together.max() >= count:
        raise failed(
            f"positions from 0 to {count - 1} in the split {name!r}", f"{together.min()} to {together.max()}", fix
        )
    if len(np.unique(together)) != len(together):
        raise failed(f"no image twice in the split {name!r}", f"{len(together) - len(np.unique(together))} are", fix)
