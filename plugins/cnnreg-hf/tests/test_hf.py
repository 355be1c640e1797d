"""Datasets that ``datasets`` makes here, without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_registry.errors import DataError

datasets = pytest.importorskip("datasets")
plugin = pytest.importorskip("cnnreg_hf")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_CACHE", str(tmp_path / "cache"))


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 7, 3), np.uint8))


def saved(folder: Path, labels: dict[str, list[object]], feature: object) -> str:
    """A dataset on disk with pictures of these labels in each split."""
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    splits = {
        split: datasets.Dataset.from_dict(
            {"image": [picture(10 * len(split) + number) for number in range(len(given))], "label": given}, features
        )
        for split, given in labels.items()
    }
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return str(folder)


def test_a_saved_dataset_has_its_classes_splits_and_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = datasets.ClassLabel(names=["cat", "dog"])
    name = saved(tmp_path / "pets", {"train": [0, 1, 1], "validation": [1, 0], "test": [-1, 0]}, labels)
    found = plugin.hf(None, name=name)
    assert (found.name, found.class_names) == (f"hf:{name}", ("cat", "dog"))
    assert found.labels.tolist() == [0, 1, 1, 1, 0, 0]
    split = found.splits[found.default_split]
    assert [part.tolist() for part in (split.train, split.val, split.test)] == [[0, 1, 2], [3, 4], [5]]
    assert found.ids[3] == "validation/000000"
    assert np.array_equal(np.asarray(Image.open(found.images[0])), np.asarray(picture(50)))
    assert "1 image of" in capsys.readouterr().err
    assert plugin.hf(None, name=name).images == found.images


def test_lists_of_classes_are_several_labels(tmp_path: Path) -> None:
    several = datasets.Sequence(datasets.ClassLabel(names=["a", "b", "c"]))
    name = saved(tmp_path / "tags", {"train": [[0, 2], [], [1]]}, several)
    found = plugin.hf(None, name=name)
    assert found.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert found.default_split is None


def test_what_has_no_classes_is_one_line(tmp_path: Path) -> None:
    name = saved(tmp_path / "captions", {"train": ["x"]}, datasets.Value("string"))
    with pytest.raises(DataError, match="needs a column of images and one of class labels; it has: image, label"):
        plugin.hf(None, name=name)
