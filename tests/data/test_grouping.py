"""Splits that keep groups whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cnn_registry.data.checks import findings
from cnn_registry.data.dataset import ImageDataset, Split
from cnn_registry.data.grouping import spread
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.sources.memory import ArrayImages
from cnn_registry.data.split import make_split, split_name
from cnn_registry.errors import DataError

Made = Callable[..., ImageDataset]


def grouped(made: ImageDataset, size: int = 5) -> ImageDataset:
    """``made`` in groups of ``size`` images of one class, and some of two."""
    return replace(made, groups=np.arange(len(made)) // size)


@pytest.mark.parametrize("name", ["stratified", "tuning", "fold-1-of-5", "fold-4-of-5"])
def test_no_group_is_in_two_parts(dataset: Made, capsys: pytest.CaptureFixture[str], name: str) -> None:
    made = grouped(dataset(103, 57, 40))
    assert made.groups is not None
    split = make_split(made, name, seed=3)
    parts = [split.train, split.val, split.test]
    assert sorted(np.concatenate(parts)) == list(range(200))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not set(made.groups[parts[one]]) & set(made.groups[parts[other]])
    held_out, every = np.bincount(made.labels[split.val]), np.bincount(made.labels[[*split.train, *split.val]])
    assert abs(held_out - every / 5).max() <= 5  # one group
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("No group of 40 groups is in two parts: ")


def test_folds_by_group_hold_out_each_image_once(dataset: Made) -> None:
    made = grouped(dataset(50, 30, 20), 4)
    folds = [make_split(made, f"fold-{number}-of-5", seed=0).val for number in range(1, 6)]
    assert sorted(np.concatenate(folds)) == list(range(100))


def test_the_seed_decides_between_equal_groups(dataset: Made) -> None:
    made = grouped(dataset(50, 50))
    first, again, other = (make_split(made, None, seed=seed).val.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_class_in_one_group_is_trained_on_and_said(dataset: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made = replace(dataset(20, 20, 4), groups=np.r_[np.arange(40), [99] * 4])
    assert 2 in made.labels[make_split(made, None, seed=0).train]
    assert "0% to 20% of a class; none of 'class 2'." in capsys.readouterr().err
    with pytest.raises(DataError, match="All images of the class 'class 2' are held out together"):
        _ = [make_split(made, f"fold-{number}-of-5", seed=0) for number in range(1, 6)]


def test_too_few_groups_are_an_error(dataset: Made) -> None:
    with pytest.raises(DataError, match="has 1 group, too few for 2 parts without dividing one"):
        make_split(replace(dataset(5, 5), groups=np.zeros(10, np.int64)), None, seed=0)


def test_labels_of_many_classes_and_several_an_image_are_spread_alike() -> None:
    random = np.random.default_rng(0)
    labels, groups = random.integers(0, 5000, 60_000), np.arange(60_000) // 3
    began = time.process_time()
    parts = spread(labels, groups, (0.8, 0.2), 0)
    assert time.process_time() - began < 5
    assert np.mean(parts) == pytest.approx(0.2, abs=0.01)
    several = (random.random((500, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02]).astype(np.int8)
    parts = spread(several, np.arange(500), (0.8, 0.2), 0)
    assert several[parts == 1].sum(0) / several.sum(0) == pytest.approx([0.2] * 6, abs=0.05)


def test_a_given_split_that_divides_a_group_is_a_finding(dataset: Made) -> None:
    made = grouped(dataset(12, 12), 4)
    images = LoadedImages(made, ArrayImages(made.images), (), "")  # type: ignore[arg-type]  # it is in memory
    found = [str(item) for item in findings(images, Split(np.arange(0, 14), np.arange(14, 20), np.arange(20, 24)))]
    assert found == [
        "1 group with training and validation images, for example of 'made/12', 'made/14'; results on the validation "
        "images are too good."
    ]


def test_a_given_test_part_is_kept_out_of_a_drawn_validation_part(dataset: Made) -> None:
    made = dataset(20, 20)
    given = Split(np.r_[0:15, 20:35], np.empty(0, np.int64), np.r_[15:20, 35:40])
    made = replace(made, splits={"manifest": given}, default_split="manifest")
    split = make_split(made, None, seed=0)
    assert split_name(made, None) == "stratified"
    assert split.test.tolist() == given.test.tolist()
    assert len(split.val) == 6
