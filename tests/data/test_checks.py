from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data.checks import findings
from cnn_registry.data.dataset import ImageDataset, Split
from cnn_registry.data.folder import load_folder
from cnn_registry.data.sources.load import load_images
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.split import make_split

Folder = Callable[..., Path]
Made = Callable[..., ImageDataset]

NONE = np.empty(0, np.int64)


def said(images: LoadedImages, split: Split | None = None) -> dict[str, tuple[int, str]]:
    found = findings(images, split or make_split(images.dataset, None, seed=0))
    return {finding.kind: (finding.count, str(finding)) for finding in found}


@pytest.fixture
def parted(folder: Folder) -> Path:
    """``train/``, ``val/`` and ``test/`` of two classes, with ten images of a class in each."""
    return folder(*(f"{part}/{name}/{n}.png" for part in ("train", "val", "test") for name in "ab" for n in range(10)))


def test_a_sound_dataset_has_no_findings(parted: Path) -> None:
    assert said(load_images(load_folder(parted), 8)) == {}


def test_the_same_file_in_two_parts_is_a_leak(parted: Path) -> None:
    for number in range(3):
        shutil.copy(parted / "train" / "a" / f"{number}.png", parted / "val" / "a" / f"copy{number}.png")
    shutil.copy(parted / "val" / "b" / "5.png", parted / "test" / "b" / "6.png")
    images = load_images(load_folder(parted), 8)
    found = findings(images, make_split(images.dataset, None, seed=0))
    assert [(finding.kind, finding.count) for finding in found] == [("leak", 3), ("leak", 1)]
    assert str(found[0]) == (
        "3 of 23 validation images are also training images, for example 'train/a/0.png', 'val/a/copy0.png'; "
        "results on them say nothing about new images."
    )
    assert "1 of 20 test images is also a validation image, for example 'val/b/5.png', 'test/b/6.png'" in str(found[1])


def test_a_random_split_of_copies_is_a_leak(folder: Folder) -> None:
    root = folder(*(f"{name}/{n}.png" for name in "ab" for n in range(20)))
    for number in range(1, 20):
        shutil.copy(root / "a" / "0.png", root / "a" / f"{number}.png")
    assert said(load_images(load_folder(root), 8))["leak"][0] == 4


def test_the_same_file_in_two_classes_is_pointed_out(folder: Folder) -> None:
    root = folder(*(f"{name}/{n}.png" for name in "ab" for n in range(10)))
    for number in (2, 3):
        shutil.copy(root / "a" / f"{number}.png", root / "b" / f"{number}.png")
    count, text = said(load_images(load_folder(root), 8))["label"]
    assert (count, text) == (2, "2 images in more than one class, for example 'a/2.png', 'b/2.png'.")


def test_copies_in_one_class_and_part_are_not_reported(parted: Path) -> None:
    shutil.copy(parted / "train" / "a" / "0.png", parted / "train" / "a" / "copy.png")
    assert said(load_images(load_folder(parted), 8)) == {}


def test_images_in_memory_are_compared_as_well(dataset: Made) -> None:
    made = dataset(20, 20)
    assert isinstance(made.images, np.ndarray)
    made.images[39] = made.images[0]
    assert set(said(load_images(made, 6))) >= {"label"}


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((300, 15), "300 images of 'class 0' and 15 images of 'class 1': accuracy hides how well small classes are "),
        ((300, 9), "1 class with fewer than 10 images: 'class 1'. 300 images of 'class 0' and 9 images of 'class 1': "),
        ((9, 9), "2 classes with fewer than 10 images: 'class 0', 'class 1'. 9 images of 'class 0': accuracy hides "),
        ((9, 8, 30), "2 classes with fewer than 10 images: 'class 0', 'class 1'. 30 images of 'class 2' and 8 images "),
    ],
)
def test_unequal_and_small_classes_are_pointed_out(dataset: Made, counts: tuple[int, ...], text: str) -> None:
    assert said(load_images(dataset(*counts), 6))["imbalance"][1].startswith(text)


def test_classes_of_similar_sizes_are_not(dataset: Made) -> None:
    assert said(load_images(dataset(190, 10), 6)) == {}


def test_what_is_not_used_is_not_counted(dataset: Made) -> None:
    images = load_images(dataset(30, 30), 6)
    split = Split(np.arange(25), np.arange(30, 33), NONE)
    assert said(images, split)["imbalance"][0] == 1


def test_without_hashes_nothing_is_compared(dataset: Made) -> None:
    images = replace(load_images(dataset(20, 20), 6), hashes=())
    everywhere = Split(np.arange(40), np.arange(40), np.arange(40))
    assert said(images, everywhere) == {}
