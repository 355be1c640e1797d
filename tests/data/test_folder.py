from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data.folder import load_folder
from cnn_registry.errors import DataError

Folder = Callable[..., Path]


def test_each_class_is_a_folder_and_everything_is_in_natural_order(folder: Folder) -> None:
    root = folder("class10/a.png", "class2/img10.png", "class2/img9.png", "class2/deep/er/img1.png")
    dataset = load_folder(root)
    assert dataset.class_names == ("class2", "class10")
    assert dataset.ids == ("class2/deep/er/img1.png", "class2/img9.png", "class2/img10.png", "class10/a.png")
    assert dataset.labels.tolist() == [0, 0, 0, 1]
    assert dataset.images == tuple(root / name for name in dataset.ids)
    assert (dataset.name, dataset.splits, dataset.default_split) == ("pictures", {}, None)


def test_all_formats_are_found_by_suffix_in_any_case_and_nothing_else(folder: Folder) -> None:
    names = ["a.jpg", "b.JPEG", "c.Png", "d.webp", "e.bmp", "f.GIF"]
    root = folder(*(f"x/{name}" for name in names), "y/a.png", "y/.hidden.png", "y/.thumbs/b.png", ".git/c.png")
    (root / "x" / "notes.txt").write_text("not an image")
    (root / "labels.csv").write_text("not an image")
    assert load_folder(root).ids == (*(f"x/{name}" for name in names), "y/a.png")


def test_links_are_followed_but_not_in_circles(folder: Folder, tmp_path: Path) -> None:
    root = folder("a/1.png", "b/1.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / "a" / "1.png").rename(elsewhere / "1.png")
    (root / "a" / "linked").symlink_to(elsewhere)
    (root / "a" / "here").symlink_to(root / "a")
    (root / "b" / "up").symlink_to(root)
    assert load_folder(root).ids == ("a/linked/1.png", "b/1.png")


def test_a_link_to_nowhere_counts_as_an_image(folder: Folder) -> None:
    root = folder("a/1.png", "b/1.png")
    (root / "a" / "2.png").symlink_to(root / "gone.png")
    assert "a/2.png" in load_folder(root).ids


def test_train_and_val_make_the_default_split(folder: Folder) -> None:
    root = folder("train/a/1.png", "train/a/2.png", "train/b/1.png", "val/b/3.png", "val/a/3.png", "test/b/4.png")
    dataset = load_folder(root)
    assert dataset.default_split is not None
    split = dataset.splits[dataset.default_split]
    assert [dataset.ids[i] for i in split.train] == ["train/a/1.png", "train/a/2.png", "train/b/1.png"]
    assert [dataset.ids[i] for i in split.val] == ["val/a/3.png", "val/b/3.png"]
    assert [dataset.ids[i] for i in split.test] == ["test/b/4.png"]
    assert dataset.labels.tolist() == [0, 0, 1, 0, 1, 1]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_validation_has_several_names_and_test_may_be_absent(folder: Folder, name: str) -> None:
    dataset = load_folder(folder("train/a/1.png", "train/b/1.png", f"{name}/a/2.png", f"{name}/b/2.png"))
    split = dataset.splits["folders"]
    assert (len(split.train), len(split.val)) == (2, 2)
    assert split.test.shape == (0,)
    assert split.test.dtype == np.int64


def test_a_class_may_be_called_train(folder: Folder) -> None:
    assert load_folder(folder("bus/1.png", "train/1.png")).class_names == ("bus", "train")


def test_empty_classes_are_counted_and_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("a/1.png", "b/1.png")
    (root / "c").mkdir()
    (root / "d").mkdir()
    assert load_folder(root).class_names == ("a", "b")
    assert capsys.readouterr().err == f"2 class folders without an image in {root}, left out: 'c', 'd'.\n"


def test_a_class_without_validation_images_is_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("train/a/1.png", "train/b/1.png", "train/c/1.png", "val/a/1.png", "val/c/1.png")
    assert load_folder(root).class_names == ("a", "b", "c")
    assert capsys.readouterr().err == f"1 class of {root / 'train'} without an image in {root / 'val'}: 'b'.\n"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/c/1.png"],
            "val has 1 class folder that .*train has no",
        ),
        (["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", "test/c/1.png", "test/d/1.png"], "'c', 'd'"),
        (["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"], "has a folder 'train' but no 'val'"),
        (["a/1.png"], "2 or more class folders with .* images in .*; there is only 'a'"),
        (["train/a/1.png", "train/b/1.png", "val/1.png"], "1 or more class folders .*; it has 1 image in no such"),
        (["1.png", "2.png"], "it has 2 images in no such folder"),
    ],
)
def test_what_cannot_be_trained_on_is_one_clear_line(folder: Folder, paths: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_folder(folder(*paths))
    assert "\n" not in str(caught.value)


def test_an_empty_folder_no_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"in {re.escape(str(tmp_path))}; it has 0 images"):
        load_folder(tmp_path)
    with pytest.raises(DataError, match=r"There is no folder .*nowhere"):
        load_folder(tmp_path / "nowhere")
    (tmp_path / "file.zip").touch()
    with pytest.raises(DataError, match=r"file\.zip is a file; expected a folder"):
        load_folder(tmp_path / "file.zip")
