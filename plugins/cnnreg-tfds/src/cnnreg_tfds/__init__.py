"""Image datasets of TensorFlow Datasets, as ``--dataset tfds:NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.data import register_dataset

if TYPE_CHECKING:
    from cnn_registry.data import ImageDataset

__all__ = ["tfds"]


@register_dataset(
    summary="Any image dataset of TensorFlow Datasets",
    num_classes=0,
    num_images=0,
    parameter="NAME",
)
def tfds(source: Path | None, *, name: str) -> ImageDataset:
    """The images of a dataset, with its classes and splits.

    Args:
        source: the ``data_dir`` of TensorFlow Datasets; ``None`` for its own.
        name: as ``tfds.builder`` takes it, or the folder of a dataset that was prepared.

    Raises:
        DataError: the dataset cannot be loaded, or has no features of images and classes.
    """
    from ._load import load

    return load(source, name)
