"""Part a data set into images to train on and images to validate with."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DataError, UsageError, suggestion
from .dataset import ImageDataset, Indices, Split

STRATIFIED = "stratified"
"""The name of the split that is drawn at random, the same share of each class."""


def make_split(dataset: ImageDataset, name: str | None, *, val_fraction: float = 0.2, seed: int) -> Split:
    """The named split, the data set's own, or a stratified one.

    Args:
        dataset: the images that can be read.
        name: one of ``dataset.splits``, or ``"stratified"``; ``None`` takes ``dataset.default_split``, and where that
            is ``None`` too, a stratified split.
        val_fraction: share of the images for validation in a stratified split.
        seed: of the draw of a stratified split.

    Raises:
        UsageError: the data set has no split of that name.
        DataError: there are fewer images than the split needs.
    """
    name = name or dataset.default_split or STRATIFIED
    if name == STRATIFIED:
        return _stratified(dataset, val_fraction, seed)
    if name not in dataset.splits:
        known = [*dataset.splits, STRATIFIED]
        raise UsageError(
            f"The data set {dataset.name!r} has no split {name!r}.{suggestion(name, known)} It has: {', '.join(known)}."
        )
    split = dataset.splits[name]
    for part, indices in (("train", split.train), ("validate", split.val)):
        if not len(indices):
            raise DataError(f"The split {name!r} of the data set {dataset.name!r} has no image to {part} with.")
    return split


def _stratified(dataset: ImageDataset, val_fraction: float, seed: int) -> Split:
    from sklearn.model_selection import train_test_split

    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    smallest = int(counts.argmin())
    for_validation = math.ceil(len(dataset) * val_fraction)
    if counts[smallest] < 2 or for_validation < len(counts) or len(dataset) - for_validation < len(counts):
        raise _too_few(dataset, smallest, int(counts[smallest]), val_fraction)
    train, val = train_test_split(
        np.arange(len(dataset)), test_size=val_fraction, stratify=dataset.labels, random_state=seed
    )
    for part in (train, val):
        drawn = np.bincount(dataset.labels[part], minlength=len(counts))
        if not drawn.all():
            absent = int(drawn.argmin())
            raise _too_few(dataset, absent, int(counts[absent]), val_fraction)
    return Split(_sorted(train), _sorted(val), np.empty(0, np.int64))


def _sorted(indices: Indices) -> Indices:
    return np.sort(indices).astype(np.int64)


def _too_few(dataset: ImageDataset, label: int, count: int, val_fraction: float) -> DataError:
    enough = max(2, math.ceil(1 / min(val_fraction, 1 - val_fraction)))
    return DataError(
        f"The class {dataset.class_names[label]!r} has {count} image{'' if count == 1 else 's'}, too few to keep "
        f"{val_fraction:.0%} of {len(dataset)} images for validation; add images, {enough} a class are enough."
    )
