from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cnn_registry.data.classes import in_classes
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import DataError

Made = Callable[..., ImageDataset]


def named(made: ImageDataset, *names: str) -> ImageDataset:
    return replace(made, class_names=names)


def test_labels_follow_the_names(dataset: Made, capsys: pytest.CaptureFixture[str]) -> None:
    images = in_classes(load_images(named(dataset(2, 3), "dog", "cat"), 6), ("bird", "cat", "dog"))
    assert images.dataset.class_names == ("bird", "cat", "dog")
    assert images.dataset.labels.tolist() == [2, 2, 1, 1, 1]
    assert len(images.source) == 5
    assert capsys.readouterr().err == ""


def test_images_of_unknown_classes_are_left_out_and_counted(dataset: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made = named(dataset(2, 3, 1), "dog", "fish", "cat")
    whole = load_images(made, 6)
    images = in_classes(whole, ("cat", "dog"))
    assert images.dataset.labels.tolist() == [1, 1, 0]
    assert images.dataset.ids == ("made/0", "made/1", "made/5")
    assert images.hashes == tuple(whole.hashes[index] for index in (0, 1, 5))
    assert (len(images.source), images.source.form.height) == (3, 6)
    np.testing.assert_array_equal(images.source.read(np.array([2, 0])), whole.source.read(np.array([5, 0])))
    assert capsys.readouterr().err == (
        "3 images of made by a test left out, of 1 class that the model does not know: 'fish'.\n"
    )


def test_one_class_alone_is_enough_and_none_is_not(dataset: Made) -> None:
    images = load_images(named(dataset(4), "cat"), 6)
    assert in_classes(images, ("bird", "cat")).dataset.labels.tolist() == [1] * 4
    with pytest.raises(DataError, match=r"no class that the model knows. It has 1 class .*: 'cat'\.$"):
        in_classes(images, ("bird", "dog"))


def test_names_that_are_composed_differently_are_the_same(dataset: Made) -> None:
    images = load_images(named(dataset(1, 1), "Caf\u00e9", "te\u0301"), 6)
    assert in_classes(images, ("t\u00e9", "Cafe\u0301")).dataset.labels.tolist() == [1, 0]
