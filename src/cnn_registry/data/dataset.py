"""A dataset as a loader returns it: where the images are, what they show, and how they may be split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .paths import PathsBelow
from .records import PackedImage

OF_NAMES = "names:"
"""How a digest begins that stands for the names and labels of images, not for their content."""

Indices = NDArray[np.int64]
"""Positions of images in a dataset."""

Bytes = NDArray[np.uint8]
"""Pixels, ``(N, height, width, channels)``: grey, RGB or RGBA."""

MAX_WEIGHT = float(np.finfo(np.float32).max)
"""The largest weight of an image."""

MAX_FLAGS = 2**32
"""Images times classes, where images may show several."""

EncodedImage = Path | PackedImage
"""Where an encoded image is: a file, or a record of a packed dataset."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which images are for training, for validation and for tests, by their positions.

    Attributes:
        train: the images to train on.
        val: the images on which the best epoch is chosen.
        test: the images held out until the end; may be empty.
    """

    train: Indices
    val: Indices
    test: Indices


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images with one label each, or with any number of them.

    Attributes:
        name: the name in run records.
        class_names: the classes in the order of their labels.
        ids: a unique and stable name of each image: its path relative to the root in POSIX form, or ``"digits/0001"``.
        labels: ``(N,)``, the class of each image; or, where it may show several or none, ``(N, num_classes)``, 1 for
            each class that it shows and 0 for the others.
        images: files or packed images to decode, or the images themselves, ``(N, height, width, channels)`` with 1,
            3 or 4 channels.
        splits: the splits that come with the data, by name; may be empty.
        default_split: the split that is used unless another is named; ``None`` means a stratified split.
        source: where the data was found, for run records.
        image_size: natural edge length in pixels, or height and width; ``None`` if the images vary in size.
        groups: ``(N,)``, the number of the group of each image: images of one group are never in two parts of a split
            that is drawn. ``None`` if each image stands for itself.
        weights: ``(N,)``, float32, what the loss of each image is multiplied by in training; ``None`` for 1.
    """

    name: str
    class_names: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.integer[Any]]
    images: Sequence[EncodedImage] | Bytes
    splits: Mapping[str, Split]
    default_split: str | None
    source: str
    image_size: int | tuple[int, int] | None
    groups: Indices | None = None
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def multi_label(self) -> bool:
        """Whether an image may show several classes."""
        return self.labels.ndim == 2

    def class_counts(self, indices: Indices | None = None) -> Indices:
        """The images of each class, ``(num_classes,)``, of all images or of those at ``indices``."""
        labels = self.labels if indices is None else self.labels[indices]
        if self.multi_label:
            return np.asarray(labels.sum(axis=0), np.int64)
        return np.bincount(labels, minlength=len(self.class_names)).astype(np.int64)

    def one_hot(self, indices: Indices) -> NDArray[np.float32]:
        """The classes that the images at ``indices`` show as 1, the others as 0: ``(len(indices), num_classes)``."""
        if self.multi_label:
            return self.labels[indices].astype(np.float32)
        targets = np.zeros((len(indices), len(self.class_names)), np.float32)
        targets[np.arange(len(indices)), self.labels[indices]] = 1
        return targets

    def select(self, keep: NDArray[np.bool_]) -> ImageDataset:
        """The dataset without the images for which ``keep``, ``(N,)``, is false; splits refer to the same images."""
        position = np.cumsum(keep) - 1

        def moved(indices: Indices) -> Indices:
            return position[indices[keep[indices]]].astype(np.int64)

        kept = np.flatnonzero(keep)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in kept),
            labels=self.labels[kept],
            groups=None if self.groups is None else self.groups[kept],
            weights=None if self.weights is None else self.weights[kept],
            images=_taken(self.images, kept),
            splits={
                name: Split(moved(split.train), moved(split.val), moved(split.test))
                for name, split in self.splits.items()
            },
        )


def _taken(images: Sequence[EncodedImage] | Bytes, kept: Indices) -> Sequence[EncodedImage] | Bytes:
    if isinstance(images, np.ndarray):
        return images[kept]
    return images.select(kept) if isinstance(images, PathsBelow) else tuple(images[place] for place in kept)
