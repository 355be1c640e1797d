from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnn_registry.data.dataset import ImageDataset, Split
from cnn_registry.data.split import make_split
from cnn_registry.errors import DataError, UsageError

Made = Callable[..., ImageDataset]


def given(made: ImageDataset, *, default: str | None = None) -> ImageDataset:
    split = Split(np.array([0, 5]), np.array([1]), np.array([2]))
    return replace(made, splits={"official-1": split, "official-2": split}, default_split=default)


def test_a_stratified_split_keeps_the_share_of_each_class(dataset: Made) -> None:
    made = dataset(50, 30, 20)
    split = make_split(made, None, seed=0)
    assert sorted([*split.train, *split.val]) == list(range(100))
    assert np.bincount(made.labels[split.val]).tolist() == [10, 6, 4]
    assert split.test.shape == (0,)
    assert {part.dtype for part in (split.train, split.val, split.test)} == {np.dtype(np.int64)}


def test_the_seed_decides(dataset: Made) -> None:
    made = dataset(50, 50)
    first, again, other = (make_split(made, None, seed=seed).val.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_the_share_for_validation_can_be_chosen(dataset: Made) -> None:
    assert len(make_split(dataset(10, 10), "stratified", val_fraction=0.5, seed=0).val) == 10


def test_a_given_split_is_taken_by_name_or_as_the_default(dataset: Made) -> None:
    made = given(dataset(5, 5), default="official-2")
    assert make_split(made, "official-1", seed=0) is made.splits["official-1"]
    assert make_split(made, None, seed=0) is made.splits["official-2"]
    assert len(make_split(made, "stratified", seed=0).val) == 2
    assert len(make_split(given(dataset(5, 5)), None, seed=0).val) == 2


def test_an_unknown_split_is_answered_with_those_there_are(dataset: Made) -> None:
    with pytest.raises(
        UsageError, match=r"Did you mean 'official-1'.*It has: official-1, official-2, stratified, tuning\."
    ):
        make_split(given(dataset(5, 5)), "oficial-1", seed=0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((10, 1, 10), "The class 'class 1' has 1 image, too few to hold out 20% of 21 images for validation"),
        ((2, 2, 2, 2), "The class 'class 0' has 2 images"),
        ((30, 1, 4, 5), r"'class 1' has 1 image, .* per class.. 2 classes have fewer: 'class 1', 'class 2'\.$"),
        ((200, 2), "The class 'class 1' has 2 images, too few .*add images .at least 5 per class."),
    ],
)
def test_too_few_images_of_a_class_are_an_error_that_names_it(
    dataset: Made, counts: tuple[int, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_split(dataset(*counts), None, seed=0)


def test_as_many_images_as_the_error_asks_for_are_enough(dataset: Made) -> None:
    for seed in range(20):
        made = dataset(200, 5)
        assert np.bincount(made.labels[make_split(made, None, seed=seed).val])[1] == 1


def test_a_given_split_without_images_is_an_error(dataset: Made) -> None:
    none = np.empty(0, np.int64)
    made = replace(dataset(5, 5), splits={"train only": Split(np.arange(10), none, none)})
    with pytest.raises(DataError, match="split 'train only' of the dataset 'made' has no image to validate on"):
        make_split(made, "train only", seed=0)


def test_the_tuning_split_keeps_the_validation_images_of_the_stratified_one_for_the_end(dataset: Made) -> None:
    made = dataset(50, 30, 20)
    outer, inner = make_split(made, "stratified", seed=3), make_split(made, "tuning", seed=3)
    assert inner.test.tolist() == outer.val.tolist()
    assert sorted([*inner.train, *inner.val]) == outer.train.tolist()
    assert np.bincount(made.labels[inner.val]).tolist() == [8, 5, 3]


def test_each_image_validates_in_just_one_fold(dataset: Made) -> None:
    made = dataset(9, 6, 5)
    folds = [make_split(made, f"fold-{number}-of-3", seed=1) for number in (1, 2, 3)]
    assert sorted(index for fold in folds for index in fold.val) == list(range(20))
    for fold in folds:
        assert sorted([*fold.train, *fold.val]) == list(range(20))
        assert np.bincount(made.labels[fold.val], minlength=3).tolist() in ([3, 2, 2], [3, 2, 1])


def test_the_tuning_split_keeps_given_validation_images_for_the_end_also(dataset: Made) -> None:
    own = Split(np.arange(0, 80), np.arange(80, 95), np.arange(95, 100))
    made = replace(dataset(100, 100), labels=np.arange(200) % 2, splits={"folders": own}, default_split="folders")
    split = make_split(made, "tuning", seed=0)
    assert split.test.tolist() == list(range(80, 100))
    assert sorted([*split.train, *split.val]) == own.train.tolist()
    assert len(split.val) == 16
    made = replace(made, splits={"folders": replace(own, val=np.empty(0, np.int64))})
    assert len(make_split(made, "tuning", seed=0).test) == 39 + 5  # as without a split


@pytest.mark.parametrize("name", ["stratified", "fold-1-of-3", "fold-3-of-3"])
def test_given_test_images_are_kept_out_of_every_split_that_is_drawn(dataset: Made, name: str) -> None:
    made = dataset(20, 20, 20)
    own = Split(np.arange(0, 30), np.arange(30, 50), np.array([59, 50, 5, 55]))
    made = replace(made, splits={"folders": own}, default_split="folders")
    split = make_split(made, name, seed=0)
    assert {5, 50, 55, 59} <= set(split.test.tolist())
    assert sorted([*split.train, *split.val, *split.test]) == list(range(60))
    outer = make_split(made, "stratified", seed=0)
    assert outer.test.tolist() == [5, 50, 55, 59]
    if name != "stratified":
        assert split.test.tolist() == [5, 50, 55, 59]


def test_folds_beside_given_test_images_validate_each_other_image_once(dataset: Made) -> None:
    own = Split(np.arange(0, 10), np.arange(10, 20), np.array([3, 12]))
    made = replace(dataset(10, 10), splits={"folders": own}, default_split="folders")
    validated = [index for number in (1, 2, 3) for index in make_split(made, f"fold-{number}-of-3", seed=1).val]
    assert sorted(validated) == sorted(set(range(20)) - {3, 12})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("fold-4-of-3", UsageError, "got 4 of 3"),
        ("fold-1-of-1", UsageError, "got 1 of 1"),
        ("fold-1-of-6", DataError, "The class 'class 2' has 5 images, too few for 6 folds"),
        ("fold-0-of-3", UsageError, "has no split 'fold-0-of-3'"),
    ],
)
def test_folds_that_cannot_be_are_refused(dataset: Made, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_split(dataset(9, 6, 5), name, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, r"seed must be from 0 to 2\*\*32 - 1; got -1"),
        ({"seed": 2**32}, r"seed must be from 0 to 2\*\*32 - 1; got 4294967296"),
        ({"seed": 0, "val_fraction": math.nan}, "val_fraction must be between 0 and 1; got nan"),
        ({"seed": 0, "val_fraction": 1.0}, "val_fraction must be between 0 and 1; got 1.0"),
    ],
)
def test_a_draw_that_cannot_be_is_refused(dataset: Made, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_split(dataset(10, 10), "stratified", **arguments)
