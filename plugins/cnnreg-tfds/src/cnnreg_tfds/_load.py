"""From a dataset of TensorFlow Datasets to files, labels and a split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.data import ImageDataset, Split, datasets_dir
from cnn_registry.errors import DataError

PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
"""Names of splits, and the parts that they are."""


def load(source: Path | None, name: str) -> ImageDataset:
    """The dataset ``tfds:name``; see `cnnreg_tfds.tfds`."""
    import tensorflow_datasets

    builder = _builder(source, name)
    image, label, several = _features(builder.info.features, name)
    feature = builder.info.features[label]
    classes = (feature.feature if several else feature).names
    splits = list(builder.info.splits)
    used = {split: PARTS[split] for split in splits if split in PARTS} or dict.fromkeys(splits, "train")
    if left_out := [split for split in splits if split not in used]:
        print(f"Splits of {name} left out: {', '.join(left_out)}.")
    ids: list[str] = []
    files: list[Path] = []
    labels: list[Any] = []
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    unlabelled = 0
    as_stored = {image: tensorflow_datasets.decode.SkipDecoding()}
    for split, part in used.items():
        read = builder.as_dataset(split=split, decoders=as_stored, shuffle_files=False)
        for number, row in enumerate(tensorflow_datasets.as_numpy(read)):
            if not several and int(row[label]) < 0:
                unlabelled += 1
                continue
            parts[part].append(len(ids))
            ids.append(f"{split}/{number:06}")
            files.append(_file(row[image], datasets_dir() / "tfds"))
            labels.append(row[label])
    if unlabelled:
        print(f"{unlabelled:,} images of {name} without a label left out.")
    if not ids:
        raise DataError(f"{name} has no image with a label.")
    has_split = len({PARTS.get(split) for split in used}) > 1
    indices = {part: np.array(positions, np.int64) for part, positions in parts.items()}
    return ImageDataset(
        name=f"tfds:{name}",
        class_names=tuple(classes),
        ids=tuple(ids),
        labels=_one_row_each(labels, len(classes)) if several else np.array(labels, np.int64),
        images=tuple(files),
        splits={"tfds": Split(**indices)} if has_split else {},
        default_split="tfds" if has_split else None,
        source=str(builder.data_path),
        image_size=None,
    )


def _builder(source: Path | None, name: str) -> Any:
    """The builder of the dataset, which is downloaded and prepared if it has not been."""
    import tensorflow_datasets

    try:
        if (Path(name) / "dataset_info.json").is_file():
            return tensorflow_datasets.builder_from_directory(name)
        builder = tensorflow_datasets.builder(name, data_dir=None if source is None else str(source))
        if not builder.data_path.exists():
            size = builder.info.download_size
            print(
                f"{name} is downloaded and prepared in {builder.data_path} first ({size or 'its size is not known'})."
            )
            builder.download_and_prepare()
    except Exception as error:  # of a builder, of a server, or of files
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{name!r} of TensorFlow Datasets cannot be loaded: {type(error).__name__}: {reason}"
        ) from error
    return builder


def _features(features: Mapping[str, Any], name: str) -> tuple[str, str, bool]:
    """The feature of images, that of classes, and whether an image may have several."""
    import tensorflow_datasets

    kinds = tensorflow_datasets.features
    images = [key for key, feature in features.items() if isinstance(feature, kinds.Image)]
    one = [key for key, feature in features.items() if isinstance(feature, kinds.ClassLabel)]
    lists = [
        key for key, feature in features.items() if isinstance(getattr(feature, "feature", None), kinds.ClassLabel)
    ]
    if not images or not (one or lists):
        raise DataError(f"{name} needs a feature of images and one of class labels; it has: {', '.join(features)}.")
    return images[0], (one or lists)[0], not one


def _file(content: bytes, folder: Path) -> Path:
    """A file of an image that is named after its content."""
    file = folder / hashlib.sha256(content).hexdigest()[:32]
    if not file.is_file() or file.stat().st_size != len(content):
        folder.mkdir(parents=True, exist_ok=True)
        written = file.with_name(f".{file.name}")
        written.write_bytes(content)
        written.replace(file)
    return file


def _one_row_each(labels: Sequence[Sequence[int]], classes: int) -> np.ndarray:
    """Lists of classes as rows of 0 and 1."""
    rows = np.zeros((len(labels), classes), np.int8)
    for row, shown in zip(rows, labels, strict=True):
        row[list(shown)] = 1
    return rows
