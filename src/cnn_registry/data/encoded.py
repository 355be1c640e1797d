"""Images that another library keeps, as files and an `ImageDataset`."""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.errors import DataError
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.paths import datasets_dir
from cnn_registry.system.progress import note
from cnn_registry.text import counted, quoted

from .dataset import ImageDataset, Split

PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
"""What libraries call their splits, and the parts that they are."""


@checked_arguments
def encoded_dataset(
    name: str,
    class_names: Sequence[str],
    splits: Mapping[str, Iterable[tuple[bytes | Path, Any]]],
    *,
    multi_label: bool = False,
    source: str,
    split_name: str,
) -> ImageDataset:
    """The dataset of images that are encoded already, as JPEG or PNG for instance.

    Images without a label are left out, and so are splits other than training, validation and test; notes say so.
    Contents become files in `datasets_dir`, named after themselves, so that equal images share one.

    Args:
        name: the dataset's, ``"library:name"``.
        class_names: in the order of the labels.
        splits: of each split, by what the library calls it, its images and their labels: a file or its content, and the
            position of its class, or ``None`` or a negative number for none; with ``multi_label`` the positions of its
            classes. Iterated once, those that are left out not at all.
        multi_label: whether an image may show several classes.
        source: where it comes from.
        split_name: what the split is called, if there is more than one part.

    Raises:
        DataError: no image has a label, or a label is not a position of a class, or with ``multi_label`` not a list of
            them.
    """
    used = {split: PARTS[split] for split in splits if split in PARTS} or dict.fromkeys(splits, "train")
    if left_out := [split for split in splits if split not in used]:
        note(f"Splits of {name} left out: {', '.join(left_out)}.")
    ids: list[str] = []
    files: list[Path] = []
    labels: list[list[int]] = []
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    unlabelled, folder = 0, datasets_dir() / name.partition(":")[0]
    for split, part in used.items():
        for number, (image, label) in enumerate(splits[split]):
            image_id = f"{split}/{number:06}"
            shown = _shown(label, len(class_names), image_id, multi_label=multi_label)
            if shown is None:
                unlabelled += 1
                continue
            parts[part].append(len(ids))
            ids.append(image_id)
            files.append(image if isinstance(image, Path) else _file(image, folder))
            labels.append(shown)
    if unlabelled:
        note(f"{counted(unlabelled, 'image')} of {name} without a label left out.")
    if not ids:
        raise DataError(f"{name} has no image with a label.")
    indices = {part: np.array(positions, np.int64) for part, positions in parts.items()}
    has_split = len(set(used.values())) > 1
    return ImageDataset(
        name=name,
        class_names=tuple(class_names),
        ids=tuple(ids),
        labels=_one_row_each(labels, len(class_names)) if multi_label else np.array(labels, np.int64)[:, 0],
        images=tuple(files),
        splits={split_name: Split(**indices)} if has_split else {},
        default_split=split_name if has_split else None,
        source=source,
        image_size=None,
    )


def _shown(label: Any, num_classes: int, image_id: str, *, multi_label: bool) -> list[int] | None:
    """The positions of the classes that an image shows; ``None`` if it has no label."""
    if label is None:
        return None
    try:
        shown = [operator.index(position) for position in (label if multi_label else [label])]
    except TypeError:
        shown = [num_classes]
    if not multi_label and shown[0] < 0:
        return None
    if not all(0 <= position < num_classes for position in shown):
        wanted = "a list of positions of classes, each" if multi_label else "the position of a class,"
        raise DataError(f"The label of {image_id} must be {wanted} from 0 to {num_classes - 1}; got {quoted(label)}.")
    return shown


def _file(content: bytes, folder: Path) -> Path:
    """A file with this content, which is written unless it is there."""
    file = folder / hashlib.sha256(content).hexdigest()[:32]
    if not file.is_file() or file.stat().st_size != len(content):
        folder.mkdir(parents=True, exist_ok=True)
        written = file.with_name(f".{file.name}-{os.getpid()}")
        written.write_bytes(content)
        written.replace(file)
    return file


def _one_row_each(labels: Sequence[Sequence[int]], classes: int) -> np.ndarray:
    """Lists of classes as rows of 0 and 1."""
    rows = np.zeros((len(labels), classes), np.int8)
    for row, shown in zip(rows, labels, strict=True):
        row[shown] = 1
    return rows
