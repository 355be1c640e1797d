"""From a Hugging Face dataset to files, labels and a split."""

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
    """The dataset ``hf:name``; see `cnnreg_hf.hf`."""
    splits = _splits(source, name)
    used = {split: PARTS[split] for split in splits if split in PARTS} or dict.fromkeys(splits, "train")
    if left_out := [split for split in splits if split not in used]:
        print(f"Splits of {name} left out: {', '.join(left_out)}.")
    image, label, several = _columns(next(iter(splits.values())).features, name)
    classes = _class_names(next(iter(splits.values())).features[label])
    ids: list[str] = []
    files: list[Path] = []
    labels: list[Any] = []
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    folder = datasets_dir() / "hf"
    unlabelled = 0
    for split, part in used.items():
        for number, row in enumerate(_encoded(splits[split], image)):
            given = row[label]
            if given is None or (not several and int(given) < 0):
                unlabelled += 1
                continue
            parts[part].append(len(ids))
            ids.append(f"{split}/{number:06}")
            files.append(_file(row[image], folder))
            labels.append(given)
    if unlabelled:
        print(f"{unlabelled:,} images of {name} without a label left out.")
    if not ids:
        raise DataError(f"{name} has no image with a label.")
    has_split = len({PARTS.get(split) for split in used}) > 1
    indices = {part: np.array(positions, np.int64) for part, positions in parts.items()}
    return ImageDataset(
        name=f"hf:{name}",
        class_names=tuple(classes),
        ids=tuple(ids),
        labels=_one_row_each(labels, len(classes)) if several else np.array(labels, np.int64),
        images=tuple(files),
        splits={"datasets": Split(**indices)} if has_split else {},
        default_split="datasets" if has_split else None,
        source=str(source or name),
        image_size=None,
    )


def _splits(source: Path | None, name: str) -> Mapping[str, Any]:
    """The splits of the dataset by name."""
    import datasets

    path, config = (name, None) if Path(name).exists() else (name.partition(":")[0], name.partition(":")[2] or None)
    try:
        if (Path(path) / "dataset_dict.json").is_file() or (Path(path) / "dataset_info.json").is_file():
            found = datasets.load_from_disk(path)
        else:
            if source is None and not Path(path).exists():
                cache = datasets.config.HF_CACHE_HOME
                print(f"{name} comes from the Hugging Face hub; what is not in {cache} is downloaded.")
            found = datasets.load_dataset(path, config, data_dir=None if source is None else str(source))
    except Exception as error:  # of the hub, of a builder, or of files
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"The Hugging Face dataset {name!r} cannot be loaded: {type(error).__name__}: {reason}"
        ) from error
    return found if isinstance(found, Mapping) else {"train": found}


def _columns(features: Mapping[str, Any], name: str) -> tuple[str, str, bool]:
    """The column of images, that of classes, and whether an image may have several."""
    import datasets

    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    one = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    lists = [
        column
        for column, feature in features.items()
        if isinstance(getattr(feature, "feature", None), datasets.ClassLabel)
    ]
    if not images or not (one or lists):
        raise DataError(f"{name} needs a column of images and one of class labels; it has: {', '.join(features)}.")
    return images[0], (one or lists)[0], not one


def _class_names(feature: Any) -> Sequence[str]:
    names: Sequence[str] = getattr(feature, "feature", feature).names
    return names


def _encoded(split: Any, image: str) -> Any:
    """The rows of a split, with images as they are stored."""
    import datasets

    return split.cast_column(image, datasets.Image(decode=False))


def _file(stored: Mapping[str, Any], folder: Path) -> Path:
    """The file of an image: where it is, or one that is named after its content."""
    content, path = stored["bytes"], stored["path"]
    if content is None:
        return Path(path)
    file = folder / f"{hashlib.sha256(content).hexdigest()[:32]}{Path(path or '').suffix.lower()}"
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
