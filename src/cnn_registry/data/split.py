"""Split a dataset into images for training, for validation and for tests."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_registry.errors import DataError, UsageError
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.extras import need
from cnn_registry.system.progress import note
from cnn_registry.text import counted, listing, suggestion

from .dataset import ImageDataset, Indices, Split
from .grouping import spread
from .stratified import stratified

STRATIFIED = "stratified"
"""The name of the split that is drawn at random, with the same share of each class."""

TUNING = "tuning"
"""The name of the split for choosing settings: the training images of the dataset's own split, or else of the
stratified one, split again. The validation images of that split are its test images, so the choice does not depend on
them."""

VAL_FRACTION = 0.2
"""The share of the images that a drawn split has for validation."""

FOLD = re.compile(r"fold-([1-9]\d{0,3})-of-([1-9]\d{0,3})")
"""Names of the splits of a stratified cross-validation: ``"fold-2-of-5"`` validates on the second of five parts."""


@checked_arguments
def make_split(dataset: ImageDataset, name: str | None, *, val_fraction: float = VAL_FRACTION, seed: int) -> Split:
    """The named split: one of the dataset's own, or one that is drawn.

    If the dataset's default split has test images, all splits that are drawn keep them as test images. If the dataset
    has groups, no group is in two parts of a split that is drawn; a note says how many there are.

    Args:
        dataset: the images that can be read.
        name: one of ``dataset.splits``; ``"stratified"``; ``"tuning"``, which splits the training images of the default
            split, or else of ``"stratified"``, once more and keeps its validation images for the test; or
            ``"fold-2-of-5"``, which validates on the second of five parts. ``None`` is ``dataset.default_split``, or a
            stratified split if that is also ``None`` or has no validation images.
        val_fraction: the share of the images, besides given test images, that a drawn split has for validation;
            between 0 and 1.
        seed: of the draw, from 0 to 2**32 - 1.

    Raises:
        UsageError: the dataset has no split of that name, or ``val_fraction`` or ``seed`` is out of range.
        DataError: there are fewer images, or groups, than the split needs.
    """
    if not 0 < val_fraction < 1:
        raise UsageError(f"val_fraction must be between 0 and 1; got {val_fraction}.")
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed must be from 0 to 2**32 - 1; got {seed}.")
    name = split_name(dataset, name)
    _check_name(dataset, name)
    if name in dataset.splits:
        return _given(dataset, name)
    split = _new(dataset, name, val_fraction, seed)
    if dataset.groups is not None:
        _note_groups(dataset, dataset.groups, split)
    return split


def split_name(dataset: ImageDataset, name: str | None) -> str:
    """The name of the split that `make_split` makes."""
    if name or dataset.default_split is None:
        return name or STRATIFIED
    return dataset.default_split if len(dataset.splits[dataset.default_split].val) else STRATIFIED


def _check_name(dataset: ImageDataset, name: str | None) -> None:
    """Refuse a split that the dataset does not have and that cannot be drawn.

    Raises:
        UsageError: it is such a one.
    """
    known = [*dataset.splits, STRATIFIED, TUNING]
    if name and name not in known and not FOLD.fullmatch(name):
        raise UsageError(
            f"The dataset {dataset.name!r} has no split {name!r}.{suggestion(name, known)} It has: {', '.join(known)}."
        )


def check_split(dataset: ImageDataset, name: str | None) -> None:
    """Refuse a split before the images are read: `make_split` may still find too few that can be read.

    Raises:
        UsageError: it is one that the dataset does not have and that cannot be drawn.
        DataError: there are fewer images than it needs. Groups are counted when it is made.
    """
    name = split_name(dataset, name)
    _check_name(dataset, name)
    if name not in dataset.splits and dataset.groups is None:
        _new(dataset, name, VAL_FRACTION, seed=0)


def _new(dataset: ImageDataset, name: str, val_fraction: float, seed: int) -> Split:
    """A split that is drawn."""
    test = _given_test(dataset)
    rest = np.setdiff1d(np.arange(len(dataset)), test)
    if name == STRATIFIED:
        return Split(*_drawn(dataset, rest, val_fraction, seed), test=test)
    if name == TUNING:
        if (own := split_name(dataset, None)) == STRATIFIED:
            rest, held_out = _drawn(dataset, rest, val_fraction, seed)
        else:  # what the data holds out stays held out
            given = _given(dataset, own)
            rest, held_out = np.setdiff1d(given.train, test), given.val
        return Split(*_drawn(dataset, rest, val_fraction, seed), test=np.union1d(held_out, test))
    fold = FOLD.fullmatch(name)
    assert fold
    return Split(*_fold(dataset, rest, int(fold[1]), int(fold[2]), seed), test=test)


def _given(dataset: ImageDataset, name: str) -> Split:
    split = dataset.splits[name]
    for part, indices in (("train on", split.train), ("validate on", split.val)):
        if not len(indices):
            raise DataError(f"The split {name!r} of the dataset {dataset.name!r} has no image to {part}.")
    return split


def _given_test(dataset: ImageDataset) -> Indices:
    """The test images that come with the data, in order."""
    if dataset.default_split is None:
        return np.empty(0, np.int64)
    return np.sort(dataset.splits[dataset.default_split].test)


def positions(dataset: ImageDataset, ids: Sequence[str]) -> Indices:
    """The positions of the images with these ids.

    Raises:
        DataError: some are missing.
    """
    position = {image_id: index for index, image_id in enumerate(dataset.ids)}
    if missing := [image_id for image_id in ids if image_id not in position]:
        raise DataError(f"{len(missing)} of the run's images are not in {dataset.source}, the first: {missing[0]}.")
    return np.array([position[image_id] for image_id in ids], np.int64)


def _drawn(dataset: ImageDataset, indices: Indices, val_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Two parts of ``indices``, each with its share of every class; the second has ``val_fraction`` of them."""
    if dataset.groups is not None or dataset.multi_label:
        return _spread(dataset, indices, (1 - val_fraction, val_fraction), 1, seed)
    labels = dataset.labels[indices]
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    smallest = int(counts.argmin())
    for_validation = math.ceil(len(indices) * val_fraction)
    if counts[smallest] < 2 or for_validation < len(counts) or len(indices) - for_validation < len(counts):
        raise _too_few(dataset, smallest, counts, val_fraction)
    train, val = (indices[part].astype(np.int64) for part in stratified(labels, val_fraction, seed))
    for part in (train, val):
        drawn = np.bincount(dataset.labels[part], minlength=len(counts))
        if not drawn.all():
            raise _too_few(dataset, int(drawn.argmin()), counts, val_fraction)
    return train, val


def _fold(dataset: ImageDataset, indices: Indices, number: int, count: int, seed: int) -> tuple[Indices, Indices]:
    """All of ``count`` parts of ``indices`` but one, to train on, and part ``number``, from 1, to validate on."""
    if not count > 1 or not number <= count:
        raise UsageError(f"Fold must be between 1 and the number of folds (at least 2); got {number} of {count}.")
    if dataset.groups is not None or dataset.multi_label:
        return _spread(dataset, indices, (1 / count,) * count, number - 1, seed)
    need("Cross-validation", "sklearn")
    from sklearn.model_selection import StratifiedKFold

    labels = dataset.labels[indices]
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    smallest = int(counts.argmin())
    if counts[smallest] < count:
        raise DataError(
            f"The class {dataset.class_names[smallest]!r} has {counted(int(counts[smallest]), 'image')}, too few for "
            f"{count} folds; add images or use fewer folds."
        )
    drawn = list(StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels))
    train, val = (indices[part].astype(np.int64) for part in drawn[number - 1])
    return train, val


def _spread(
    dataset: ImageDataset, indices: Indices, shares: Sequence[float], held_out: int, seed: int
) -> tuple[Indices, Indices]:
    """``indices`` without one of several parts, and that part; each has whole groups, and its share of every class."""
    unit, where = ("image", "") if dataset.groups is None else ("group", " in other groups")
    groups = indices if dataset.groups is None else dataset.groups[indices]
    parts = spread(dataset.labels[indices], groups, shares, seed)
    train, val = indices[parts != held_out], indices[parts == held_out]
    if not len(val):
        raise DataError(
            f"{dataset.source} has {counted(len(np.unique(groups)), unit)}, too few for {len(shares)} parts without "
            f"dividing one; add images{where}."
        )
    counts = dataset.class_counts(train)
    if not counts.all():
        name = dataset.class_names[int(counts.argmin())]
        raise DataError(
            f"All images of the class {name!r} are held out together, so none is left to train on; add images of it"
            f"{where}, or use fewer folds."
        )
    return train.astype(np.int64), val.astype(np.int64)


def _note_groups(dataset: ImageDataset, groups: Indices, split: Split) -> None:
    """Say that groups are whole, and how far the parts are from stratified."""
    train, val = (dataset.class_counts(part) for part in (split.train, split.val))
    shares = val / np.maximum(train + val, 1)
    absent = [dataset.class_names[label] for label in np.flatnonzero(val == 0)]
    lacks = f"; none of {listing(absent, 3)}" if absent else ""
    used = np.concatenate([split.train, split.val, split.test])
    note(
        f"No group of {counted(len(np.unique(groups[used])), 'group')} is in two parts: "
        f"{len(split.val) / (len(split.train) + len(split.val)):.0%} of the images are for validation, "
        f"{shares.min():.0%} to {shares.max():.0%} of a class{lacks}."
    )


def _too_few(dataset: ImageDataset, label: int, counts: NDArray[np.int64], val_fraction: float) -> DataError:
    enough = max(2, math.ceil(1 / min(val_fraction, 1 - val_fraction)))
    fewer = [name for name, count in zip(dataset.class_names, counts, strict=True) if count < enough]
    others = f" {counted(len(fewer), 'class')} have fewer: {listing(fewer)}." if len(fewer) > 1 else ""
    return DataError(
        f"The class {dataset.class_names[label]!r} has {counted(int(counts[label]), 'image')}, too few to hold out "
        f"{val_fraction:.0%} of {int(counts.sum())} images for validation; add images (at least {enough} per class)."
        f"{others}"
    )
