"""Images of one dataset with the labels of another, matched by class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnn_registry.errors import DataError
from cnn_registry.system.progress import note
from cnn_registry.text import counted, listing

from .dataset import Indices
from .parts import composed
from .sources.loaded import LoadedImages
from .sources.source import SelectedImages
from .sources.unreadable import Unreadable


def in_classes(images: LoadedImages, class_names: Sequence[str]) -> LoadedImages:
    """The images whose classes are known, with labels in the order of ``class_names``.

    Images of other classes are left out, with a note. Names that differ only in how Unicode composes their letters are
    the same.

    Args:
        images: a dataset; it may have some of the classes only, and others.
        class_names: of a model.

    Raises:
        DataError: no class is known.
    """
    dataset = images.dataset
    position = {composed(name): index for index, name in enumerate(class_names)}
    to_known = np.array([position.get(composed(name), -1) for name in dataset.class_names])
    if dataset.multi_label:
        return _columns_in_classes(images, class_names, to_known)
    labels = to_known[dataset.labels]
    keep = labels >= 0
    if unknown := [name for name, label in zip(dataset.class_names, to_known, strict=True) if label < 0]:
        classes = f"{counted(len(unknown), 'class')} that the model does not know: {listing(unknown, 5)}"
        if not keep.any():
            raise DataError(f"{dataset.source} has no class that the model knows. It has {classes}.")
        note(f"{counted(int((~keep).sum()), 'image')} of {dataset.source} left out, of {classes}.")
    kept = np.flatnonzero(keep)
    known = replace(dataset.select(keep), class_names=tuple(class_names), labels=labels[keep].astype(np.int64))
    return replace(
        images,
        dataset=known,
        source=images.source if keep.all() else SelectedImages(images.source, kept),
        hashes=tuple(images.hashes[index] for index in kept.tolist()) if images.hashes else (),
        unreadable=Unreadable(known.ids),
        files=None,
    )


def _columns_in_classes(images: LoadedImages, class_names: Sequence[str], to_known: Indices) -> LoadedImages:
    """All images, with the labels of the classes that are known; `in_classes` where an image may show several."""
    dataset = images.dataset
    known = to_known >= 0
    if unknown := [name for name, is_known in zip(dataset.class_names, known, strict=True) if not is_known]:
        classes = f"{counted(len(unknown), 'class')} that the model does not know: {listing(unknown, 5)}"
        if not known.any():
            raise DataError(f"{dataset.source} has no class that the model knows. It has {classes}.")
        note(f"Labels of {dataset.source} left out, of {classes}.")
    if absent := [name for index, name in enumerate(class_names) if index not in to_known]:
        note(f"{dataset.source} has no labels of {counted(len(absent), 'class')} of the model: {listing(absent, 5)}.")
    labels = np.zeros((len(dataset), len(class_names)), dataset.labels.dtype)
    labels[:, to_known[known]] = dataset.labels[:, known]
    found = replace(dataset, class_names=tuple(class_names), labels=labels)
    return replace(images, dataset=found, unreadable=Unreadable(found.ids), files=None)
