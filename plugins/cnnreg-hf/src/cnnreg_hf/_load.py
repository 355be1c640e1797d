"""From a Hugging Face dataset to files, labels and a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_registry.data import ImageDataset, encoded_dataset
from cnn_registry.errors import DataError


def load(source: Path | None, name: str) -> ImageDataset:
    """The dataset ``hf:name``; see `cnnreg_hf.hf`."""
    splits = _splits(source, name)
    features = next(iter(splits.values())).features
    image, label, several = _columns(features, name)
    return encoded_dataset(
        f"hf:{name}",
        _class_names(features[label]),
        {split: _rows(found, image, label) for split, found in splits.items()},
        multi_label=several,
        source=str(source or name),
        split_name="datasets",
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


def _rows(split: Any, image: str, label: str) -> Iterator[tuple[bytes | Path, Any]]:
    """The images of a split as they are stored, and their labels."""
    import datasets

    for row in split.cast_column(image, datasets.Image(decode=False)):
        stored = row[image]
        yield Path(stored["path"]) if stored["bytes"] is None else stored["bytes"], row[label]
