"""Tables whose images may show several classes, and the datasets that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data.classes import in_classes
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.loading import _loader_fault
from cnn_registry.data.manifest import load_manifest
from cnn_registry.data.pipeline.augment import Augmentation
from cnn_registry.data.pipeline.batches import training_batches
from cnn_registry.data.pipeline.mix import Mixing
from cnn_registry.data.sources.load import load_images
from cnn_registry.data.split import make_split
from cnn_registry.errors import DataError, UsageError

FILES = ("a/1.png", "a/2.png", "b/3.png", "b/4.png")


@pytest.fixture
def table(folder: Callable[..., Path]) -> Callable[..., Path]:
    """``table("path,labels", ...)``: a table of these lines beside four pictures."""
    root = folder(*FILES)

    def make(*lines: str) -> Path:
        file = root / "photos.csv"
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return file

    return make


SETS = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]]
"""Whether each picture shows ash, beech and elm."""


@pytest.mark.parametrize(
    ("lines", "options", "noted"),
    [
        (["path,labels", "a/1.png,elm| ash", "a/2.png,", "b/3.png,beech", "b/4.png,ash|beech|ash"], {}, "by '|'"),
        (["path,labels", "a/1.png,elm;ash", "a/2.png,", "b/3.png,beech", "b/4.png,ash;beech"], {}, "by ';'"),
        (
            ["path,tags", "a/1.png,elm ash", "a/2.png,", "b/3.png,beech", "b/4.png,ash beech"],
            {"labels_column": "tags", "label_separator": " "},
            "",
        ),
        (["path,ash,beech,elm", "a/1.png,1,0,1", "a/2.png,0,0,0", "b/3.png,0,1,0", "b/4.png,1,True,0.0"], {}, ""),
        (
            ["path,age,elm,beech,ash", "a/1.png,7,1,0,1", "a/2.png,8,0,0,0", "b/3.png,9,0,1,0", "b/4.png,9,0,1,1"],
            {"class_columns": "ash, beech,elm"},
            "",
        ),
    ],
)
def test_several_labels_are_in_one_column_or_in_one_for_each_class(
    table: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    lines: list[str],
    options: dict[str, str],
    noted: str,
) -> None:
    found = load_manifest(table(*lines), **options)  # type: ignore[arg-type]  # columns alone
    assert found.class_names == ("ash", "beech", "elm")
    assert found.labels.tolist() == SETS
    assert found.multi_label
    assert found.ids == FILES
    assert found.class_counts().tolist() == [2, 2, 1]
    assert found.select(np.array([True, False, False, True])).labels.tolist() == [SETS[0], SETS[3]]
    assert noted in capsys.readouterr().err


def test_lists_of_parquet_are_labels(table: Callable[..., Path]) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = table("").with_suffix(".parquet")
    labels = [["elm", "ash"], [], ["beech"], ["ash", "beech"]]
    parquet.write_table(arrow.table({"path": list(FILES), "labels": labels}), file)
    assert load_manifest(file).labels.tolist() == SETS


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["path,ash,beech", "a/1.png,1,0", "a/2.png,2,0"], {}, "line 3: expected 0 or 1 in the column 'ash'.*got '2'"),
        (["path,ash,beech", "a/1.png,x,0"], {}, "has no column 'label'.*Name the column with --label-column\\.$"),
        (["path,ash,beech,notes", "a/1.png,1,0,x"], {}, "of 0 and 1, one for each class, with --class-columns\\.$"),
        (["path,labels", "a/1.png,ash"], {"class_columns": "ash,oak"}, "has no column 'ash'.*--class-columns"),
        (["path,labels", "a/1.png,"], {}, "Expected 2 or more classes in .*; it has none"),
        (["path,labels", "a/1.png,x|y", "a/1.png,x"], {}, "labels 'x', 'y' in line 2 and 'x' in line 3"),
        (
            ["path,labels,split", "a/1.png,x|y,train", "a/2.png,x|z,val"],
            {},
            "1 class for validation that it has no training images of: 'z'",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    table: Callable[..., Path], lines: list[str], options: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_manifest(table(*lines), **options)  # type: ignore[arg-type]  # columns alone


def test_two_kinds_of_label_columns_are_refused(table: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="Labels are in one kind of column; got 'labels', 'class'"):
        load_manifest(table("path,labels", "a/1.png,x"), labels_column="labels", class_columns="a,b")


def several(made: ImageDataset, labels: np.ndarray) -> ImageDataset:
    return replace(made, labels=labels.astype(np.int8))


def test_splits_are_stratified_by_every_label(dataset: Callable[..., ImageDataset]) -> None:
    shown = (np.random.default_rng(0).random((200, 3)) < [0.5, 0.2, 0.1]).astype(np.int8)
    made = several(dataset(100, 50, 50), shown)
    assert not _loader_fault(made)
    split = make_split(made, None, seed=0)
    assert len(split.val) == pytest.approx(40, abs=3)
    assert made.class_counts(split.val) == pytest.approx(made.class_counts() / 5, abs=2)
    folds = [make_split(made, f"fold-{number}-of-4", seed=0).val for number in (1, 2, 3, 4)]
    assert sorted(np.concatenate(folds)) == list(range(200))
    assert "labels must be 0 and 1" in _loader_fault(replace(made, labels=made.labels * 2))


def test_batches_have_all_labels_and_mixed_images_shares_of_them(dataset: Callable[..., ImageDataset]) -> None:
    made = several(dataset(4, 4), np.array([[1, 1], [0, 0], [1, 0], [0, 1]] * 2))
    images = load_images(made, 6)
    for mixing in (Mixing(), Mixing(mixup=1.0)):
        drawn = training_batches(
            images,
            np.arange(8),
            batch_size=8,
            epochs=1,
            seed=0,
            augmentation=Augmentation(),
            pixels="unit",
            mixing=mixing,
        )
        [(_, labels)] = list(drawn.as_numpy_iterator())
        assert labels.sum() == pytest.approx(8) if not mixing.mixes else ((labels > 0) & (labels < 1)).any()


def test_labels_are_matched_by_names_of_classes(
    dataset: Callable[..., ImageDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    images = load_images(several(dataset(1, 1), np.array([[1, 0], [1, 1]])), 6)
    matched = in_classes(images, ["class 2", "class 1"]).dataset
    assert matched.labels.tolist() == [[0, 0], [0, 1]]
    err = capsys.readouterr().err
    assert "Labels of made by a test left out, of 1 class that the model does not know: 'class 0'." in err
    assert "has no labels of 1 class of the model: 'class 2'." in err
