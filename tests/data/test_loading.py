from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cnn_registry.data.dataset import ImageDataset, Split
from cnn_registry.data.loading import load_dataset
from cnn_registry.errors import DataError, UnknownNameError, UsageError
from cnn_registry.registry.datasets import default_dataset, register_dataset

Made = Callable[..., ImageDataset]


def register(result: object, name: str = "shapes", *, is_default: bool = False) -> None:
    def load(source: Path | None) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    load.__name__ = name
    register_dataset(summary="Shapes", num_classes=2, num_images=4, is_default=is_default)(load)


def given(train: list[float], val: list[float]) -> dict[str, Any]:
    """The change to a dataset that gives it a split."""
    return {"splits": {"given": Split(np.array(train), np.array(val), np.empty(0, np.int64))}}


listed: Any = Split(*cast(Any, ([0, 1], [2, 3], [])))


@pytest.fixture(autouse=True)
def _empty_session(plugins: object) -> None:
    """What a test registers goes with it."""


def test_a_name_finds_its_loader_and_a_path_alone_is_a_folder(dataset: Made, folder: Callable[..., Path]) -> None:
    made = dataset(2, 2)
    register(made)
    assert load_dataset("shapes", None).images is made.images
    assert load_dataset(None, folder("a/1.png", "b/1.png")).class_names == ("a", "b")


def test_neither_a_name_nor_a_path_is_the_default_dataset() -> None:
    assert default_dataset().name == "oxflower17"


def test_two_defaults_are_an_error_that_names_both(dataset: Made) -> None:
    register(dataset(2, 2), is_default=True)
    with pytest.raises(UsageError, match="oxflower17, shapes"):
        load_dataset(None, None)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'oxflower17'"):
        load_dataset("oxflowers17", None)


def test_a_loader_that_fails_is_one_line_that_blames_it() -> None:
    register(RuntimeError("no\nluck"))
    with pytest.raises(DataError, match=r"'shapes' \(this session\) could not be loaded: RuntimeError: no luck"):
        load_dataset("shapes", None)


def test_a_loaders_own_error_stays_as_it_is() -> None:
    register(DataError("put the disc in"))
    with pytest.raises(DataError, match=r"^put the disc in$"):
        load_dataset("shapes", None)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"ids": ("one",)}, "1 ids, 4 images and 4 labels"),
        ({"labels": np.array([0, 0, 1, 2])}, "labels must be integers from 0 to 1"),
        ({"labels": np.array([0.0, 0.0, 1.0, 1.0])}, "labels must be integers"),
        (
            {"images": np.zeros((4, 6, 6), np.uint8)},
            r"uint8 of shape \(N, height, width, 1, 3 or 4\), not uint8 of \(4, 6, 6\)",
        ),
        ({"default_split": "official"}, "default split 'official' is not among its splits"),
        ({"ids": ("a", "b", "a", "c")}, "two of its images have the same id"),
        ({"ids": (1, 2, 3, 4)}, "its ids must be texts"),
        ({"labels": [0, 0, 1, 1]}, "its labels must be an array, not list"),
        ({"splits": None}, "its splits must be a dictionary of Split"),
        ({"splits": {"given": [0, 1]}}, "its splits must be a dictionary of Split"),
        (given([0, 1], [2, 4]), r"its split 'given' must have positions from 0 to 3"),
        (given([0, -1], [2]), r"its split 'given' must have positions from 0 to 3"),
        (given([0.5], [2]), r"its split 'given' must have positions"),
        (given([0, 1], [1, 2]), "its split 'given' uses an image twice"),
        (given([], []), "its split 'given' is empty"),
        ({"splits": {"given": listed}}, "its split 'given' must have arrays of positions, not list"),
        ({"images": [np.zeros((6, 6, 3), np.uint8)] * 4}, "its images must be one array, or paths of files"),
        ({"images": ["1.png"] * 4}, "its images must be one array, or paths of files"),
    ],
)
def test_an_inconsistent_result_of_a_loader_is_reported(dataset: Made, changes: dict[str, Any], fault: str) -> None:
    register(replace(dataset(2, 2), **changes))
    with pytest.raises(DataError, match=rf"loader of the dataset 'shapes' .* is broken: .*{fault}"):
        load_dataset("shapes", None)


def test_a_dataset_has_the_name_that_finds_it_again(dataset: Made) -> None:
    register(replace(dataset(2, 2), name="photos"))
    assert load_dataset("shapes", None).name == "shapes"


def test_a_loader_of_something_else_is_reported() -> None:
    register([1, 2, 3])
    with pytest.raises(DataError, match="it returned list, not an ImageDataset"):
        load_dataset("shapes", None)
