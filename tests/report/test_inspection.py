"""``cnnreg data``: what is found in a dataset before it is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data import ImageDataset, load_folder, register_dataset
from cnn_registry.data.looks import look_alikes
from cnn_registry.errors import UsageError
from cnn_registry.report.inspection import inspect
from cnn_registry.report.label_errors import label_errors

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

pytest.importorskip("imagehash")


def picture(seed: int) -> Image.Image:
    """A smooth picture of its own."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)).resize((90, 70))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Parts with what a dataset should not have."""
    root = tmp_path / "pictures"
    seed = 0
    for part, count in (("train", 12), ("val", 4)):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                seed += 1
                picture(seed).save(root / part / name / f"{number}.png")
    cat, dog, val = root / "train" / "cat", root / "train" / "dog", root / "val" / "cat"
    (val / "leaked.png").write_bytes((cat / "0.png").read_bytes())
    (dog / "both.png").write_bytes((cat / "1.png").read_bytes())
    Image.open(cat / "2.png").save(val / "smaller.jpg", quality=60)
    Image.open(cat / "3.png").resize((45, 35)).save(cat / "again.png")
    Image.new("RGB", (40, 40), "white").save(dog / "white.png")
    Image.new("RGB", (50, 40), "grey").save(cat / "grey.png")
    (dog / "broken.png").write_bytes(b"no picture")
    (dog / "notes.txt").write_text("not an image", encoding="utf-8")
    return root


def test_findings_name_what_is_wrong_the_worst_first(pictures: Path) -> None:
    found = inspect(pictures)
    assert [(item.kind, item.count) for item in found.findings] == [
        ("unreadable", 1),
        ("leak", 1),
        ("leak", 1),
        ("label", 1),
        ("duplicate", 1),
        ("blank", 2),
    ]
    texts = [item.text for item in found.findings]
    assert "'train/dog/broken.png' (" in texts[0]
    assert texts[1].startswith(
        "1 group of images with the same content across parts, for example 'train/cat/0.png', 'val/"
    )
    assert texts[1].endswith("results on them say nothing about new images.")
    assert texts[2].startswith(
        "1 group of images that look the same across parts, for example 'train/cat/2.png', 'val/cat/s"
    )
    assert "the same content across classes, for example 'train/cat/1.png', 'train/dog/both.png'." in texts[3]
    assert "look the same within a class, for example 'train/cat/3.png', 'train/cat/again.png'." in texts[4]
    assert texts[5] == "2 images of one colour, for example 'train/cat/grey.png', 'train/dog/white.png'."
    assert any("1 .txt" in line for line in found.notes)
    assert found.class_counts["cat"] == {"train": 14, "val": 6}


def test_the_command_draws_a_page_and_compares_with_other_images(
    pictures: Path, tmp_path: Path, cnnreg: Cnnreg
) -> None:
    later = tmp_path / "val"  # the name of a part of the first
    (later / "cat").mkdir(parents=True)
    (later / "cat" / "new.png").write_bytes((pictures / "train" / "cat" / "5.png").read_bytes())
    page = tmp_path / "page.html"
    code, out, _ = cnnreg("data", pictures, "--data", later, "-o", page, "--json")
    found = json.loads(out)
    assert (code, found["images"], found["page"]) == (0, 39, str(page))
    of_the_other = [group for group in found["same"] if "val: cat/new.png" in group["images"]]
    assert [group["where"] for group in of_the_other] == ["across parts"]
    assert found["same"][0] == {
        "exact": True,
        "where": "across parts",
        "images": ["train/cat/0.png", "val/cat/leaked.png"],
    }
    assert {"val: cat/new.png"} <= {image for group in found["same"] for image in group["images"]}
    text = page.read_text(encoding="utf-8")
    assert "Images that are there twice" in text
    assert text.count("data:image/") > 10
    assert "http" not in text.replace("http-equiv", "")
    code, out, _ = cnnreg("data", pictures)
    assert (code, "39" not in out, "leak" in out) == (0, True, True)
    page.write_text("mine", encoding="utf-8")
    assert cnnreg("data", pictures, "-o", page)[0] == 1
    assert page.read_text(encoding="utf-8") == "mine"


@pytest.fixture
def many(plugins: FakePlugins, colours: Path) -> None:
    """Two datasets, one of which is one of many."""

    @register_dataset(summary="Many", num_classes=0, num_images=0, parameter="NAME")
    def many(source: Path | None, *, name: str) -> ImageDataset:
        return load_folder(colours, name=name)

    @register_dataset(summary="Few", num_classes=3, num_images=36, aliases=("some",))
    def few(source: Path | None) -> ImageDataset:
        return load_folder(colours)


@pytest.mark.usefixtures("many")
def test_a_dataset_is_found_by_any_of_its_names(colours: Path) -> None:
    names = ("many:colours", "few", "some", "session:few")
    assert [len(inspect(name).items) for name in names] == [len(load_folder(colours))] * len(names)


@pytest.mark.usefixtures("many")
def test_what_is_not_there_is_one_line(tmp_path: Path, trained: Path, colours: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder, table or dataset nowhere"):
        inspect("nowhere")
    with pytest.raises(UsageError, match="The dataset 'many' is one of many; name one of them: many:NAME"):
        inspect("many")
    with pytest.raises(UsageError, match="is one run, which knows its training images"):
        inspect(colours, run=trained)


def test_hashes_that_differ_in_few_bits_are_alike() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 500).astype(np.uint64)
    hashes[100] = hashes[7] ^ np.uint64(0b1011 << 30)
    hashes[200] = hashes[100] ^ np.uint64(1 << 60)
    hashes[300] = hashes[8] ^ np.uint64(0b111111)
    assert look_alikes(hashes) == [[7, 100, 200]]


def test_labels_that_other_networks_contradict_are_likely_wrong() -> None:
    random = np.random.default_rng(0)
    true = random.integers(0, 4, 400)
    given = true.copy()
    given[:20] = (true[:20] + 1) % 4
    probabilities = 0.1 * random.random((400, 4)) + 0.6 * np.eye(4)[true]
    found = label_errors(given, (probabilities / probabilities.sum(1, keepdims=True)).astype(np.float32))
    numbers = {error.number for error in found}
    assert numbers <= set(range(20))
    assert len(numbers) >= 12
    assert all(error.suggested == true[error.number] for error in found)
    assert [error.margin for error in found] == sorted(error.margin for error in found)
