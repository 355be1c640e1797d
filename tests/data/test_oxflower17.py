from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tarfile
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from scipy.io import savemat

from cnn_registry.data.loading import load_dataset
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import DataError, DownloadError
from cnn_registry.registry.datasets import get_dataset_spec

TFLEARN_ORDER = [0, 1, 10, 11, 12, 13, 14, 15, 16, 2, 3, 4, 5, 6, 7, 8, 9]
ALL = range(1, 1361)
SOME = range(1, 1361, 20)


def picture(number: int) -> bytes:
    return f"image {number}".encode()


@pytest.fixture
def official(tmp_path: Path) -> Callable[..., Path]:
    """A tree in the official layout with these images (of text: nothing here decodes them)."""

    def make(numbers: range = ALL) -> Path:
        root = tmp_path / "17flowers"
        (root / "jpg").mkdir(parents=True)
        (root / "jpg" / "files.txt").touch()
        for number in numbers:
            (root / "jpg" / f"image_{number:04}.jpg").write_bytes(picture(number))
        return root

    return make


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """One photograph-like JPEG per class in the official layout, of different sizes, wide and tall ones."""
    random = np.random.default_rng(0)
    folder = tmp_path / "drawn" / "jpg"
    folder.mkdir(parents=True)
    for label in range(17):
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8))
        size = 500 + 13 * label, 780 - 29 * label
        image = coarse.resize(size, Image.Resampling.BICUBIC)
        noisy = np.asarray(image, int) + random.integers(-20, 21, (*size[::-1], 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"image_{80 * label + 1:04}.jpg", quality=90)
    return folder.parent


def as_tflearn(root: Path) -> Path:
    """Move the images of an official tree into tflearn's class folders."""
    for file in sorted((root / "jpg").glob("*.jpg")):
        folder = root / "jpg" / str((int(file.stem[-4:]) - 1) // 80)
        folder.mkdir(exist_ok=True)
        file.rename(folder / file.name)
    return root


def archived(root: Path, archive: Path) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "jpg", "jpg")
    return archive


def write_splits(file: Path) -> None:
    numbers = np.arange(1, 1361).reshape(17, 80)
    parts = {"trn": numbers[:, :40], "val": numbers[:, 40:60], "tst": numbers[:, 60:]}
    savemat(file, {f"{name}{k}": part.reshape(1, -1) for name, part in parts.items() for k in (1, 2, 3)})


def test_the_official_layout_has_the_official_labels(official: Callable[..., Path]) -> None:
    root = official()
    dataset = load_dataset("oxflower17", root)
    spec = get_dataset_spec("oxflower17")
    assert (len(dataset), len(dataset.class_names)) == (spec.num_images, spec.num_classes) == (1360, 17)
    np.testing.assert_array_equal(dataset.labels, np.arange(1360) // 80)
    assert (dataset.ids[0], dataset.ids[-1]) == ("image_0001.jpg", "image_1360.jpg")
    assert dataset.images[80] == root / "jpg" / "image_0081.jpg"
    assert (dataset.class_names[0], dataset.class_names[2], dataset.class_names[16]) == (
        "daffodil",
        "lily of the valley",
        "pansy",
    )


def test_the_folder_of_the_images_and_the_one_around_it_are_alike(official: Callable[..., Path]) -> None:
    root = official(SOME)
    around, inside = load_dataset("oxflower17", root), load_dataset("oxflower17", root / "jpg")
    assert (around.ids, around.images) == (inside.ids, inside.images)


def test_tflearns_layout_has_tflearns_labels_and_the_names_follow(official: Callable[..., Path]) -> None:
    root = official()
    names = load_dataset("oxflower17", root).class_names
    dataset = load_dataset("oxflower17", as_tflearn(root))
    assert dataset.class_names == tuple(names[folder] for folder in TFLEARN_ORDER)
    folders = [int(Path(str(file)).parent.name) for file in dataset.images]
    np.testing.assert_array_equal(dataset.labels, [TFLEARN_ORDER.index(folder) for folder in folders])
    assert [dataset.class_names[label] for label in dataset.labels] == [names[folder] for folder in folders]
    assert dataset.ids[160] == "10/image_0801.jpg"


@pytest.mark.parametrize("tflearn", [False, True])
def test_an_archive_is_extracted_into_the_cache_and_once(
    official: Callable[..., Path], tmp_path: Path, cache_folder: Path, tflearn: bool
) -> None:
    root = official(SOME)
    tree = load_dataset("oxflower17", as_tflearn(root) if tflearn else root)
    archive = archived(root, tmp_path / "downloads" / "17flowers.tgz")
    for source in (archive, archive.parent):
        dataset = load_dataset("oxflower17", source)
        assert (dataset.ids, dataset.class_names) == (tree.ids, tree.class_names)
        first = Path(str(dataset.images[0]))
        assert cache_folder in first.parents
        assert first.read_bytes() == picture(1)
        assert dataset.source == str(archive)
        first.with_name("marked").touch()
    assert list(archive.parent.iterdir()) == [archive]
    assert len(list(cache_folder.rglob("marked"))) == 1


@pytest.mark.parametrize("form", ["tree", "archive"])
def test_what_lies_in_the_cache_folder_is_found_without_a_source(
    official: Callable[..., Path], cache_folder: Path, form: str
) -> None:
    home = cache_folder / "datasets" / "oxflower17"
    if form == "tree":
        shutil.copytree(official(SOME) / "jpg", home / "jpg")
    else:
        archived(official(SOME), home / "17flowers.tgz")
    assert len(load_dataset(None, None)) == len(SOME)


@pytest.mark.parametrize("place", ["beside the archive", "beside jpg", "jpg alone", "tflearn"])
def test_the_official_splits_are_read_where_they_lie(official: Callable[..., Path], tmp_path: Path, place: str) -> None:
    root = official()
    source = {"jpg alone": root / "jpg"}.get(place, root)
    if place == "beside the archive":
        source = archived(root, tmp_path / "downloads" / "17flowers.tgz")
    if place == "tflearn":
        as_tflearn(root)
    write_splits((source if source.is_dir() else source.parent) / "datasplits.mat")
    if place == "jpg alone":
        (root / "jpg" / "datasplits.mat").rename(root / "datasplits.mat")
    dataset = load_dataset("oxflower17", source)
    assert list(dataset.splits) == ["official-1", "official-2", "official-3"]
    assert dataset.default_split is None
    split = dataset.splits["official-2"]
    assert [len(part) for part in (split.train, split.val, split.test)] == [680, 340, 340]
    numbers = [int(dataset.ids[index][-8:-4]) for index in split.val]
    assert sorted(numbers) == [80 * label + k for label in range(17) for k in range(41, 61)]


def test_a_damaged_splits_file_is_noted_and_does_no_harm(
    official: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = official()
    (root / "datasplits.mat").write_bytes(b"no splits at all")
    assert load_dataset("oxflower17", root).splits == {}
    assert re.fullmatch(
        r"The official splits are not available: .*datasplits\.mat cannot be read .*\n", capsys.readouterr().err
    )


def test_missing_images_are_counted_and_named(
    official: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = official(range(5, 1361))
    write_splits(root / "datasplits.mat")
    dataset = load_dataset("oxflower17", root)
    assert capsys.readouterr().err == (
        f"4 of 1360 images are missing from {root / 'jpg'}: "
        "image_0001.jpg, image_0002.jpg, image_0003.jpg and 1 more.\n"
    )
    assert len(dataset) == 1356
    train = dataset.splits["official-1"].train
    assert len(train) == 676
    assert dataset.ids[train[0]] == "image_0005.jpg"


def test_a_source_without_flowers_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There are no flowers in"):
        load_dataset("oxflower17", tmp_path)
    with pytest.raises(DataError, match=r"There is no .*nowhere; expected 17flowers\.tgz"):
        load_dataset("oxflower17", tmp_path / "nowhere")
    (tmp_path / "17flowers.tgz").write_bytes(b"half an archive")
    with pytest.raises(DataError, match=r"17flowers\.tgz cannot be extracted"):
        load_dataset("oxflower17", tmp_path / "17flowers.tgz")


def test_without_a_network_the_error_names_the_ways_out(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for variable in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    assert requests.utils.get_environ_proxies("https://www.robots.ox.ac.uk")["https"] == "http://127.0.0.1:1"
    with pytest.raises(DownloadError) as caught:
        load_dataset(None, None)
    message = str(caught.value)
    assert "\n" not in message
    assert "--dataset digits" in message
    assert "--data DIR" in message
    assert f"put the archive at {cache_folder / 'datasets' / 'oxflower17' / '17flowers.tgz'}." in message


def test_the_real_tree_is_complete(flowers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_dataset("oxflower17", flowers)
    assert np.bincount(dataset.labels).tolist() == [80] * 17
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(importlib.util.find_spec("tflearn") is None, reason="tflearn, the oracle, is not installed")
@pytest.mark.parametrize("origin", ["drawn", "flowers"])
def test_tflearn_itself_feeds_the_same_pixels_and_labels(
    origin: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = request.getfixturevalue(origin) / "jpg"
    root = tmp_path / "17flowers"
    for folder in range(17):
        (root / "jpg" / str(folder)).mkdir(parents=True)
        name = f"image_{80 * folder + 1:04}.jpg"  # one per class: in tflearn, the disk decides the order within a class
        (root / "jpg" / str(folder) / name).symlink_to(images / name)
    tflearn = tflearn_data_utils(monkeypatch)
    theirs = tflearn.image_dirs_to_samples(str(root / "jpg"), resize=(64, 64), convert_gray=False)
    loaded = load_images(load_dataset("oxflower17", root), 64)
    ours = loaded.source.read(np.arange(17)).astype("float32") / 255.0
    np.testing.assert_array_equal(loaded.dataset.labels, np.asarray(theirs[1]))
    np.testing.assert_array_equal(ours, np.asarray(theirs[0]))


def tflearn_data_utils(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """tflearn's ``data_utils`` by its path, with what it misses on current Pillow and TensorFlow."""
    package = importlib.util.find_spec("tflearn")
    assert package is not None
    assert package.origin is not None
    spec = importlib.util.spec_from_file_location("data_utils", Path(package.origin).with_name("data_utils.py"))
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.setattr(Image, "ANTIALIAS", Image.Resampling.LANCZOS, raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow.compat.v1", types.ModuleType("tensorflow.compat.v1"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
