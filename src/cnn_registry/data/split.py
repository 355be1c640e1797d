"""Part a data set into images to train on and images to validate with."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_registry.errors import DataError, UsageError
from cnn_registry.text import suggestion

from .dataset import ImageDataset, Indices, Split

STRATIFIED = "stratified"
"""The name of the split that is drawn at random, the same share of each class."""

TUNING = "tuning"
"""The name of the split to choose settings with: the training images of the stratified one, split again in the same
way. What the stratified split validates with is put aside as test images, untouched by the choice."""

FOLD = re.compile(r"fold-([1-9]\d{0,3})-of-([1-9]\d{0,3})")
"""Names of the splits of a stratified cross-validation: ``"fold-2-of-5"`` validates with the second of five parts."""

NONE: Indices = np.empty(0, np.int64)


def make_split(dataset: ImageDataset, name: str | None, *, val_fraction: float = 0.2, seed: int) -> Split:
    """The named split, the data set's own, or a stratified one.

    Args:
        dataset: the images that can be read.
        name: one of ``dataset.splits``, ``"stratified"``, ``"tuning"`` (see `TUNING`), or for instance
            ``"fold-2-of-5"``; ``None`` takes ``dataset.default_split``, and where that is ``None`` too, a stratified
            split.
        val_fraction: share of the images for validation in a stratified split.
        seed: of the draw of a stratified split.

    Raises:
        UsageError: the data set has no split of that name.
        DataError: there are fewer images than the split needs.
    """
    name = name or dataset.default_split or STRATIFIED
    everything = np.arange(len(dataset))
    if name == STRATIFIED:
        return Split(*_drawn(dataset, everything, val_fraction, seed), test=NONE)
    if name == TUNING:
        rest, test = _drawn(dataset, everything, val_fraction, seed)
        return Split(*_drawn(dataset, rest, val_fraction, seed), test=test)
    if name not in dataset.splits and (fold := FOLD.fullmatch(name)):
        return _fold(dataset, int(fold[1]), int(fold[2]), seed)
    if name not in dataset.splits:
        known = [*dataset.splits, STRATIFIED, TUNING]
        raise UsageError(
            f"The data set {dataset.name!r} has no split {name!r}.{suggestion(name, known)} It has: {', '.join(known)}."
        )
    split = dataset.splits[name]
    for part, indices in (("train", split.train), ("validate", split.val)):
        if not len(indices):
            raise DataError(f"The split {name!r} of the data set {dataset.name!r} has no image to {part} with.")
    return split


def positions(dataset: ImageDataset, ids: Sequence[str]) -> Indices:
    """Where the images with these ids are.

    Raises:
        DataError: some are not there.
    """
    position = {image_id: index for index, image_id in enumerate(dataset.ids)}
    if missing := [image_id for image_id in ids if image_id not in position]:
        raise DataError(f"{len(missing)} of the run's images are not in {dataset.source}, the first: {missing[0]}.")
    return np.array([position[image_id] for image_id in ids], np.int64)


def _drawn(dataset: ImageDataset, indices: Indices, val_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Two parts of ``indices``, each with its share of every class; the second has ``val_fraction`` of them."""
    from sklearn.model_selection import train_test_split

    labels = dataset.labels[indices]
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    smallest = int(counts.argmin())
    for_validation = math.ceil(len(indices) * val_fraction)
    if counts[smallest] < 2 or for_validation < len(counts) or len(indices) - for_validation < len(counts):
        raise _too_few(dataset, smallest, counts, val_fraction)
    parts = train_test_split(indices, test_size=val_fraction, stratify=labels, random_state=seed)
    for part in parts:
        drawn = np.bincount(dataset.labels[part], minlength=len(counts))
        if not drawn.all():
            raise _too_few(dataset, int(drawn.argmin()), counts, val_fraction)
    train, val = (np.sort(part).astype(np.int64) for part in parts)
    return train, val


def _fold(dataset: ImageDataset, number: int, count: int, seed: int) -> Split:
    """Part ``number``, from 1, of ``count`` parts with the same share of each class, to validate; the rest to train."""
    from sklearn.model_selection import StratifiedKFold

    if not count > 1 or not number <= count:
        raise UsageError(f"Of two or more folds the first to the last can be asked for; got fold {number} of {count}.")
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    smallest = int(counts.argmin())
    if counts[smallest] < count:
        raise DataError(
            f"The class {dataset.class_names[smallest]!r} has {counts[smallest]} image"
            f"{'' if counts[smallest] == 1 else 's'}, too few for {count} folds; add images or take fewer folds."
        )
    drawn = StratifiedKFold(count, shuffle=True, random_state=seed).split(dataset.labels, dataset.labels)
    train, val = (part.astype(np.int64) for part in list(drawn)[number - 1])
    return Split(train, val, NONE)


def _too_few(dataset: ImageDataset, label: int, counts: NDArray[np.int64], val_fraction: float) -> DataError:
    enough = max(2, math.ceil(1 / min(val_fraction, 1 - val_fraction)))
    count = int(counts[label])
    return DataError(
        f"The class {dataset.class_names[label]!r} has {count} image{'' if count == 1 else 's'}, too few to keep "
        f"{val_fraction:.0%} of {int(counts.sum())} images for validation; add images, {enough} a class are enough."
    )
