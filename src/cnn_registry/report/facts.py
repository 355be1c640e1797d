"""What a dataset is like: how many images its classes have, and how large they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from cnn_registry.data.dataset import ImageDataset, Split
from cnn_registry.data.form import Form
from cnn_registry.data.image import image_size
from cnn_registry.data.threads import in_threads

LOOKED_AT = 1000
"""Files whose sizes are read; of more, every so many."""

COMMON = 5
"""Sizes that are listed."""


@dataclass(frozen=True)
class ImageSizes:
    """The sizes of images in pixels, before they are resized.

    Attributes:
        looked_at: images whose sizes were read.
        width, height: the least, the median and the largest.
        enlarged: share of the images that are enlarged to fit the network.
        common: the most frequent sizes, as width, height and share.
    """

    looked_at: int
    width: tuple[float, float, float]
    height: tuple[float, float, float]
    enlarged: float
    common: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class DataFacts:
    """A dataset in figures.

    Attributes:
        train, val, test: images per class, in the order of the classes.
        sizes: of the images; ``None`` where none could be read.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    sizes: ImageSizes | None


def data_facts(dataset: ImageDataset, split: Split, form: Form) -> DataFacts:
    """The facts of a dataset for a network that takes images in this ``form``."""

    def counts(indices: np.ndarray) -> tuple[int, ...]:
        return tuple(dataset.class_counts(indices).tolist())

    return DataFacts(counts(split.train), counts(split.val), counts(split.test), _sizes(dataset, form))


def _sizes(dataset: ImageDataset, form: Form) -> ImageSizes | None:
    images = dataset.images
    if isinstance(images, np.ndarray):
        height, width = images.shape[1:3]
        found = [(int(width), int(height))] * len(images)
    else:
        files = images[:: -(-len(images) // LOOKED_AT)]
        found = [pair for pair in in_threads(image_size, files) if pair]
    if not found:
        return None
    widths, heights = np.array(found).T
    frame_height, frame_width = form.frame
    smaller = np.stack([heights < frame_height, widths < frame_width])
    enlarged = smaller.all(axis=0) if form.resize == "letterbox" else smaller.any(axis=0)
    common = Counter(found).most_common(COMMON)
    return ImageSizes(
        len(found),
        _range(widths),
        _range(heights),
        float(enlarged.mean()),
        tuple((width, height, count / len(found)) for (width, height), count in common),
    )


def _range(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.min()), float(np.median(values)), float(values.max())
