from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data.loading import load_dataset
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import UsageError
from cnn_registry.registry.datasets import embedded_datasets, get_dataset_spec


def test_the_digits_are_what_is_declared() -> None:
    spec, digits = get_dataset_spec("digits"), load_dataset("digits", None)
    assert "digits" in embedded_datasets()
    assert (len(digits), len(digits.class_names), digits.image_size) == (spec.num_images, spec.num_classes, 32)
    assert (digits.ids[0], digits.ids[-1]) == ("digits/0001", "digits/1797")
    assert isinstance(digits.images, np.ndarray)
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert digits.images.dtype == np.uint8
    assert (digits.images[..., 0] == digits.images[..., 2]).all()


def test_a_digit_looks_like_its_label() -> None:
    images = load_images(load_dataset("digits", None), 32)
    pixels = images.source.read(np.arange(1797)).astype(float).mean(axis=3)
    means = np.stack([pixels[images.dataset.labels == label].mean(axis=0) for label in range(10)])
    nearest = ((pixels[:, None] - means) ** 2).sum(axis=(2, 3)).argmin(axis=1)
    assert (nearest == images.dataset.labels).mean() > 0.85


def test_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="comes with scikit-learn and takes no --data"):
        load_dataset("digits", tmp_path)
