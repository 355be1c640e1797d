"""Images of another library as a dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cnn_registry.data import datasets_dir, encoded_dataset
from cnn_registry.errors import DataError
from cnn_registry.system.progress import collected_notes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_CACHE", str(tmp_path / "cache"))


def read() -> tuple[bytes, int]:
    raise AssertionError("a split that is left out is not read")


def test_splits_become_parts_and_contents_become_files(tmp_path: Path) -> None:
    here = tmp_path / "here.png"
    splits: dict[str, Any] = {
        "train": [(b"one", 0), (b"two", 1), (here, 1)],
        "dev": [(b"two", 1), (b"x", -1)],
        "extra": iter(read, None),
    }
    with collected_notes() as notes:
        found = encoded_dataset("lib:pets", ("cat", "dog"), splits, source="the hub", split_name="lib")
    assert notes == ["Splits of lib:pets left out: extra.", "1 image of lib:pets without a label left out."]
    assert found.ids == ("train/000000", "train/000001", "train/000002", "dev/000000")
    assert found.labels.tolist() == [0, 1, 1, 1]
    split = found.splits["lib"]
    assert (found.default_split, split.train.tolist(), split.val.tolist()) == ("lib", [0, 1, 2], [3])
    first, second, third, fourth = found.images
    assert (third, second == fourth) == (here, True)
    assert isinstance(first, Path)
    assert first.read_bytes() == b"one"
    assert first.parent == datasets_dir() / "lib"


def test_lists_of_classes_are_rows_and_a_single_part_needs_no_split() -> None:
    splits = {"all": [(b"one", [0, 2]), (b"two", []), (b"three", None)]}
    found = encoded_dataset("lib:tags", ["a", "b", "c"], splits, multi_label=True, source="", split_name="lib")
    assert found.labels.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert (dict(found.splits), found.default_split) == ({}, None)


def test_a_dataset_without_a_label_is_one_line() -> None:
    with pytest.raises(DataError, match=r"lib:x has no image with a label\."):
        encoded_dataset("lib:x", ["a", "b"], {"train": [(b"one", -1)]}, source="", split_name="lib")


@pytest.mark.parametrize(
    ("label", "multi_label", "message"),
    [
        (2, False, "The label of train/000001 must be the position of a class, from 0 to 1; got 2."),
        (0.5, False, "The label of train/000001 must be the position of a class, from 0 to 1; got 0.5."),
        ("cat", False, "The label of train/000001 must be the position of a class, from 0 to 1; got 'cat'."),
        (1, True, "The label of train/000001 must be a list of positions of classes, each from 0 to 1; got 1."),
        ([-1], True, "The label of train/000001 must be a list of positions of classes, each from 0 to 1; got [-1]."),
        (
            [0, 2],
            True,
            "The label of train/000001 must be a list of positions of classes, each from 0 to 1; got [0, 2].",
        ),
    ],
)
def test_a_label_that_names_no_class_is_refused(label: Any, multi_label: bool, message: str) -> None:
    images = {"train": [(b"one", [0] if multi_label else 0), (b"two", label)]}
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        encoded_dataset("lib:x", ["a", "b"], images, multi_label=multi_label, source="", split_name="lib")
