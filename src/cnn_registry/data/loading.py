"""From what the user asked for (a name, a folder, or nothing) to a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.errors import CnnRegistryError, DataError, UsageError
from cnn_registry.registry.datasets import default_dataset, get_dataset_spec
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.isolation import isolated
from cnn_registry.text import one_line, quoted

from .dataset import MAX_WEIGHT, EncodedImage, ImageDataset, Split
from .folder import load_folder
from .form import MODES
from .manifest import Manifest, as_source, load_manifest
from .packed import is_packed, load_packed
from .table import is_table


@checked_arguments
def load_dataset(name: str | None, source: str | Path | Manifest | None, *, min_classes: int = 2) -> ImageDataset:
    """Find the images. Nothing is decoded.

    Args:
        name: a dataset's name. ``None`` reads the folder or the table ``source``, or the default dataset if there is no
            ``source``.
        source: an archive or a folder that holds the data, packed images of any dataset, or a manifest; ``None`` if the
            dataset finds or downloads its own.
        min_classes: the number of classes of which a folder or a manifest must have images.

    Returns:
        Class names, and for each image a label, a stable ID, and its file or its pixels.

    Raises:
        UsageError: there is no such dataset, no default dataset, or a dataset is given the columns of a manifest.
        DataError: the images are missing or in an unknown layout, or the loader returned something inconsistent.
        DownloadError: they could not be downloaded.
        BrokenPluginError: the plugin that provides the dataset cannot be used.
    """
    source = as_source(source)
    if isinstance(source, Manifest):
        if name is not None:
            raise UsageError(f"Columns are those of a table; the dataset {quoted(name)} reads {source.path} by itself.")
        return source.load(min_classes=min_classes)
    if source is not None and is_packed(source):
        packed = load_packed(source, min_classes=min_classes)
        if fault := _loader_fault(packed):
            raise DataError(f"The tables of {source} are damaged: {fault.replace('it returned', 'they have')}.")
        return packed
    if name is None and source is not None:
        load = load_manifest if is_table(source) and not source.is_dir() else load_folder
        return load(source, min_classes=min_classes)
    spec = default_dataset() if name is None else get_dataset_spec(name)
    try:
        with isolated(f"The loader of the dataset {quoted(spec.name)}"):
            loaded = spec.build(source)
    except CnnRegistryError:
        raise
    except (Exception, SystemExit) as error:  # a loader may be anyone's code
        raise DataError(
            f"The dataset {quoted(spec.name)} ({spec.provider}) could not be loaded: {one_line(error)}."
        ) from error
    if fault := _loader_fault(loaded):
        raise DataError(f"The loader of the dataset {quoted(spec.name)} ({spec.provider}) is broken: {fault}.")
    assert isinstance(loaded, ImageDataset)
    # A run finds its dataset again by this name, which a loader easily leaves to the folder's.
    return replace(loaded, name=str(name) if spec.parameter else spec.name)


def _loader_fault(loaded: object) -> str:
    """What is wrong with a loader's result, or an empty string."""
    if not isinstance(loaded, ImageDataset):
        return f"it returned {type(loaded).__name__}, not an ImageDataset"
    if fault := _type_fault(loaded):
        return fault
    images, labels, classes = loaded.images, loaded.labels, len(loaded.class_names)
    if not len(loaded.ids) == len(images) == len(labels) > 0:
        return f"it returned {len(loaded.ids)} ids, {len(images)} images and {len(labels)} labels"
    if len(set(loaded.ids)) < len(loaded.ids):
        return "two of its images have the same id"
    if not all(isinstance(name, str) and name for name in loaded.class_names):
        return "its class names must be texts that are not empty"
    if len(set(loaded.class_names)) < classes:
        return "two of its classes have the same name"
    edges = loaded.image_size if isinstance(loaded.image_size, tuple | list) else (loaded.image_size,)
    if loaded.image_size is not None and not all(isinstance(edge, int) and edge > 0 for edge in edges):
        return f"its image_size must be above 0, not {loaded.image_size}"
    if labels.ndim == 2:
        if labels.shape[1] != classes or labels.dtype.kind not in "iu" or not np.isin(labels, (0, 1)).all():
            return f"its labels must be 0 and 1 of shape ({len(labels)}, {classes}), not {labels.shape}"
    elif labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.min() < 0 or labels.max() >= classes:
        return f"its labels must be integers from 0 to {classes - 1}"
    if not isinstance(images, np.ndarray) and not all(isinstance(image, EncodedImage) for image in images):
        return "its images must be one array, or paths of files"
    if isinstance(images, np.ndarray) and (
        images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in MODES
    ):
        return f"its images must be uint8 of shape (N, height, width, 1, 3 or 4), not {images.dtype} of {images.shape}"
    if loaded.default_split is not None and loaded.default_split not in loaded.splits:
        return f"its default split {quoted(loaded.default_split)} is not among its splits"
    for what, values in (("groups", loaded.groups), ("weights", loaded.weights)):
        if values is not None and np.shape(values) != (len(labels),):
            return f"its {what} must have the shape ({len(labels)},), not {np.shape(values)}"
    if loaded.groups is not None and not np.issubdtype(np.asarray(loaded.groups).dtype, np.integer):
        return "its groups must be integers"
    if loaded.weights is not None and not ((loaded.weights >= 0) & (loaded.weights <= MAX_WEIGHT)).all():
        return f"its weights must be from 0 to {MAX_WEIGHT:.2g}"
    return next((fault for name, split in loaded.splits.items() if (fault := _split_fault(name, split, labels))), "")


def _type_fault(loaded: Any) -> str:
    """What has another type than it is declared to have, or an empty string."""
    if not all(isinstance(image_id, str) for image_id in loaded.ids):
        return "its ids must be texts"
    if not isinstance(loaded.labels, np.ndarray):
        return f"its labels must be an array, not {type(loaded.labels).__name__}"
    if not isinstance(loaded.splits, Mapping) or not all(isinstance(split, Split) for split in loaded.splits.values()):
        return "its splits must be a dictionary of Split by name"
    return ""


def _split_fault(name: str, split: Split, labels: np.ndarray) -> str:
    """What is wrong with one of its splits, or an empty string."""
    parts = (split.train, split.val, split.test)
    if others := {type(part).__name__ for part in parts if not isinstance(part, np.ndarray)}:
        return f"its split {quoted(name)} must have arrays of positions, not {' and '.join(sorted(others))}"
    used = np.concatenate([part.reshape(-1) for part in parts])
    if not len(used):
        return f"its split {quoted(name)} is empty"
    if not np.issubdtype(used.dtype, np.integer) or used.min() < 0 or used.max() >= len(labels):
        return f"its split {quoted(name)} must have positions from 0 to {len(labels) - 1}"
    if len(np.unique(used)) < len(used):
        return f"its split {quoted(name)} uses an image twice"
    return ""
