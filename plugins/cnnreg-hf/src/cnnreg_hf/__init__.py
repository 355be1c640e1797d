"""Image datasets of Hugging Face ``datasets``, as ``--dataset hf:NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.data import register_dataset

if TYPE_CHECKING:
    from cnn_registry.data import ImageDataset

__all__ = ["hf"]


@register_dataset(
    summary="Any image dataset of Hugging Face datasets, from the hub or a folder",
    num_classes=0,
    num_images=0,
    parameter="NAME",
)
def hf(source: Path | None, *, name: str) -> ImageDataset:
    """The images of a dataset, with its classes and splits.

    Args:
        source: files of the dataset, passed on as ``data_dir``; ``None`` without it.
        name: of a dataset of the hub, or a folder that ``save_to_disk`` wrote or ``load_dataset`` reads;
            ``NAME:CONFIG`` for one of its configurations.

    Raises:
        DataError: the dataset cannot be loaded, or has no columns of images and classes.
    """
    from ._load import load

    return load(source, name)
