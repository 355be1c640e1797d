"""From what the user asked for, a name or a folder or nothing, to a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnn_registry.errors import CnnRegistryError, DataError
from cnn_registry.registry.datasets import default_dataset, get_dataset_spec
from cnn_registry.text import one_line

from .dataset import ImageDataset
from .folder import load_folder


def load_dataset(name: str | None, source: Path | None) -> ImageDataset:
    """Find the images; nothing is decoded.

    Args:
        name: a data set's name; ``None`` with a ``source`` reads that folder, without one takes the default data set.
        source: an archive or a folder that holds the data; ``None`` where the data set finds or fetches its own.

    Raises:
        UsageError: there is no such data set, or none is the default.
        DataError: the images are missing or not in a form that is understood.
        DownloadError: they could not be fetched.
        BrokenPluginError: the plugin that provides the data set cannot be used.
    """
    if name is None and source is not None:
        return load_folder(source)
    spec = default_dataset() if name is None else get_dataset_spec(name)
    try:
        loaded = spec.build(source)
    except CnnRegistryError:
        raise
    except Exception as error:  # a loader may be anyone's code
        raise DataError(
            f"The data set {spec.name!r} ({spec.provider}) could not be loaded: {one_line(error)}"
        ) from error
    if fault := _fault(loaded):
        raise DataError(f"The loader of the data set {spec.name!r} ({spec.provider}) is broken: {fault}.")
    assert isinstance(loaded, ImageDataset)
    return loaded


def _fault(loaded: object) -> str:
    """What is wrong with a loader's result, or an empty string."""
    if not isinstance(loaded, ImageDataset):
        return f"it returned {type(loaded).__name__}, not an ImageDataset"
    images, labels, classes = loaded.images, np.asarray(loaded.labels), len(loaded.class_names)
    if not len(loaded.ids) == len(images) == len(labels) > 0:
        return f"it returned {len(loaded.ids)} ids, {len(images)} images and {len(labels)} labels"
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= classes:
        return f"its labels must be whole numbers from 0 to {classes - 1}"
    if isinstance(images, np.ndarray) and (images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3):
        return f"its images must be uint8 of shape (N, height, width, 3), not {images.dtype} of {images.shape}"
    if loaded.default_split is not None and loaded.default_split not in loaded.splits:
        return f"its default split {loaded.default_split!r} is not among its splits"
    return ""
