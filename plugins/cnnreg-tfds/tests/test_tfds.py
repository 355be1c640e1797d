"""Datasets that TensorFlow Datasets prepares here, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry.errors import DataError

kinds = pytest.importorskip("tensorflow_datasets")
plugin = pytest.importorskip("cnnreg_tfds")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_CACHE", str(tmp_path / "cache"))


def prepared(folder: Path, feature: Any, labels: dict[str, list[Any]]) -> str:
    """The folder of a dataset with pictures of these labels in each split."""
    import tensorflow as tf

    features = kinds.features.FeaturesDict({"image": kinds.features.Image(shape=(None, None, 3)), "label": feature})

    def rows(given: list[Any]) -> Any:
        pictures = np.random.default_rng(0).integers(0, 256, (len(given), 9, 7, 3), np.uint8)
        return tf.data.Dataset.from_generator(
            lambda: ({"image": image, "label": label} for image, label in zip(pictures, given, strict=True)),
            output_signature={
                "image": tf.TensorSpec((9, 7, 3), tf.uint8),
                "label": tf.TensorSpec((None,) if isinstance(given[0], list) else (), tf.int64),
            },
        )

    builder = kinds.dataset_builders.TfDataBuilder(
        name="made",
        version="1.0.0",
        split_datasets={split: rows(given) for split, given in labels.items()},
        features=features,
        data_dir=str(folder),
    )
    builder.download_and_prepare()
    return str(builder.data_path)


def test_a_prepared_dataset_has_its_classes_splits_and_pictures(tmp_path: Path) -> None:
    feature = kinds.features.ClassLabel(names=["cat", "dog"])
    name = prepared(tmp_path, feature, {"train": [0, 1, 1], "test": [1, 0]})
    found = plugin.tfds(None, name=name)
    assert (found.name, found.class_names) == (f"tfds:{name}", ("cat", "dog"))
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1, 1]
    split = found.splits[found.default_split]
    assert [len(part) for part in (split.train, split.val, split.test)] == [3, 0, 2]
    assert np.asarray(Image.open(found.images[0])).shape == (9, 7, 3)


def test_what_is_not_there_is_one_line() -> None:
    with pytest.raises(DataError, match="'no_such_dataset' of TensorFlow Datasets cannot be loaded: DatasetNotFound"):
        plugin.tfds(None, name="no_such_dataset")
