"""From a dataset of TensorFlow Datasets to files, labels and a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnn_registry.data import ImageDataset, encoded_dataset
from cnn_registry.errors import DataError


def load(source: Path | None, name: str) -> ImageDataset:
    """The dataset ``tfds:name``; see `cnnreg_tfds.tfds`."""
    builder = _builder(source, name)
    image, label, several = _features(builder.info.features, name)
    feature = builder.info.features[label]
    return encoded_dataset(
        f"tfds:{name}",
        (feature.feature if several else feature).names,
        {split: _rows(builder, split, image, label) for split in builder.info.splits},
        multi_label=several,
        source=str(builder.data_path),
        split_name="tfds",
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


def _rows(builder: Any, split: str, image: str, label: str) -> Iterator[tuple[bytes, Any]]:
    """The images of a split as they are stored, and their labels."""
    import tensorflow_datasets

    as_stored = {image: tensorflow_datasets.decode.SkipDecoding()}
    for row in tensorflow_datasets.as_numpy(builder.as_dataset(split=split, decoders=as_stored, shuffle_files=False)):
        yield row[image], row[label]
