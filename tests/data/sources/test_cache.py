from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data import formats
from cnn_registry.data.dataset import ImageDataset, Split
from cnn_registry.data.folder import load_folder
from cnn_registry.data.form import Form
from cnn_registry.data.image import decode
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import DataError

if TYPE_CHECKING:
    from tests.conftest import RunPython

Folder = Callable[..., Path]
PATHS = [f"{name}/{number}.png" for name in ("a", "b") for number in range(6)]


def everything(dataset: ImageDataset, size: int, **options: Any) -> np.ndarray:
    images = load_images(dataset, size, **options)
    assert images.source.form == Form.of(size)
    return images.source.read(np.arange(len(images.source)))


def entries(cache_folder: Path) -> list[Path]:
    return sorted((cache_folder / "decoded").iterdir())


def test_images_are_decoded_once_and_mapped_the_second_time(
    folder: Folder, cache_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(folder(*PATHS))
    expected = np.stack([decode(file, 8) for file in dataset.images])
    np.testing.assert_array_equal(everything(dataset, 8), expected)
    assert capsys.readouterr().err == "Decoding 12 images\n"
    np.testing.assert_array_equal(everything(dataset, 8), expected)
    assert capsys.readouterr().err == ""
    assert [entry.name for entry in entries(cache_folder)] == [entries(cache_folder)[0].name]


def test_reading_takes_positions_in_any_order(folder: Folder) -> None:
    source = load_images(load_folder(folder(*PATHS)), 8).source
    all_images = source.read(np.arange(12))
    np.testing.assert_array_equal(source.read(np.array([5, 0, 5])), all_images[[5, 0, 5]])


def test_another_size_or_other_content_is_another_entry(folder: Folder, cache_folder: Path) -> None:
    root = folder(*PATHS)
    everything(load_folder(root), 8)
    everything(load_folder(root), 9)
    assert len(entries(cache_folder)) == 2
    shutil.copy(root / "a" / "1.png", root / "a" / "0.png")
    pixels = everything(load_folder(root), 8)
    np.testing.assert_array_equal(pixels[0], pixels[1])
    assert len(entries(cache_folder)) == 3


def test_the_same_content_elsewhere_is_the_same_entry(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(*PATHS)
    everything(load_folder(root), 8)
    shutil.copytree(root, tmp_path / "copy")
    capsys.readouterr()
    everything(load_folder(tmp_path / "copy"), 8)
    assert capsys.readouterr().err == ""


def test_pixels_are_an_ordinary_array_file(folder: Folder, cache_folder: Path) -> None:
    pixels = everything(load_folder(folder(*PATHS)), 8)
    np.testing.assert_array_equal(np.load(entries(cache_folder)[0] / "images.npy"), pixels)


def test_another_decoder_is_another_entry(
    folder: Folder, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(folder(*PATHS))
    load_images(dataset, 8)
    load_images(dataset, 8, max_pixels=2**30)
    monkeypatch.setattr(formats, "pillow_names", lambda: ("PNG", "JPEG"))
    load_images(dataset, 8)
    assert len(entries(cache_folder)) == 3
    assert capsys.readouterr().err == "Decoding 12 images\n" * 3


def test_what_is_bad_only_now_is_tried_again(
    folder: Folder, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(folder(*PATHS))
    opened = Image.open

    def short_of_memory(stream: Any, **options: Any) -> Any:
        if Path(stream.name).name == "3.png":
            raise MemoryError
        return opened(stream, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", short_of_memory)
        assert len(load_images(dataset, 8).bad) == 2
    assert "a/3.png (not enough memory to decode it), b/3.png (" in capsys.readouterr().err
    assert not (cache_folder / "decoded").exists()
    assert load_images(dataset, 8).bad == ()


def test_images_beside_a_file_that_cannot_be_opened_are_decoded_once(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(*PATHS)
    bad = root / "a" / "3.png"
    whole = bad.read_bytes()
    bad.unlink()
    bad.symlink_to("nowhere.png")
    dataset = load_folder(root)

    def said() -> str:
        images = load_images(dataset, 8)
        readable = [file for file in dataset.images if Path(str(file)).is_file()]
        np.testing.assert_array_equal(
            images.source.read(np.arange(len(readable))), np.stack([decode(file, 8) for file in readable])
        )
        return capsys.readouterr().err

    left_out = "1 of 12 images cannot be read and are left out: a/3.png ({}).\n"
    assert said() == "Decoding 12 images\n" + left_out.format("no such file or directory")
    assert said() == left_out.format("no such file or directory")
    bad.unlink()
    bad.mkdir()
    assert said() == left_out.format("not a regular file")
    bad.rmdir()
    bad.write_bytes(whole)
    assert said() == "Decoding 12 images\n"


def test_larger_images_are_read_where_that_is_asked_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_folder(folder(*PATHS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # the images have 320; Pillow itself refuses above 200
    with pytest.raises(DataError, match="no readable image"):
        load_images(dataset, 8)
    for memory_limit in (None, 0):
        loaded = load_images(dataset, 8, max_pixels=320, memory_limit=memory_limit)
        assert len(loaded.source.read(np.arange(12))) == 12
    with pytest.raises(DataError, match="no readable image"):
        load_images(dataset, 8, max_pixels=319)
    with pytest.raises(DataError, match="more than 319 pixels"):
        load_images(dataset, 8, max_pixels=319, memory_limit=0).source.read(np.arange(12))
    assert Image.MAX_IMAGE_PIXELS == 100


def test_images_in_memory_larger_than_memory_are_resized_when_they_are_read(
    dataset: Callable[..., ImageDataset],
) -> None:
    made = dataset(5, 5)
    indices = np.array([9, 0, 3])
    whole = load_images(made, 12, memory_limit=10 * 12 * 12 * 3)
    resized = load_images(made, 12, memory_limit=10 * 12 * 12 * 3 - 1)
    assert type(whole.source) is not type(resized.source)
    assert (len(resized.source), resized.source.form.height) == (10, 12)
    np.testing.assert_array_equal(resized.source.read(indices), whole.source.read(indices))


def test_sizes_that_fill_the_memory_are_refused_at_once(
    folder: Folder, dataset: Callable[..., ImageDataset], cache_folder: Path
) -> None:
    for made in (dataset(1797, 3), load_folder(folder(*PATHS))):
        with pytest.raises(DataError, match=r"^Images of 300000x300000 pixels are too large: .* Choose a smaller"):
            load_images(made, 300_000)
    assert not (cache_folder / "decoded").exists()


def test_without_a_place_to_keep_them_images_are_still_read(
    folder: Folder, cache_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(folder(*PATHS))
    (cache_folder / "decoded").write_text("a file where the folder should be")
    assert len(everything(dataset, 8)) == 12
    assert "could not be cached in" in capsys.readouterr().err


def test_two_processes_at_once_agree(folder: Folder, cache_folder: Path, run_python: RunPython) -> None:
    root = folder(*PATHS)
    code = f"""
import hashlib, multiprocessing, pathlib
import numpy as np
from cnn_registry.data.sources.load import load_images
from cnn_registry.data.form import Form
from cnn_registry.data.folder import load_folder

def digest(barrier, results):
    dataset = load_folder(pathlib.Path({str(root)!r}))
    barrier.wait()
    results.put(hashlib.sha256(load_images(dataset, 8).source.read(np.arange(12)).tobytes()).hexdigest())

context = multiprocessing.get_context("fork")
barrier, results = context.Barrier(3), context.Queue()
processes = [context.Process(target=digest, args=(barrier, results)) for _ in range(3)]
for process in processes: process.start()
print(len({{results.get() for _ in processes}}))
"""
    finished = run_python("-c", code)
    assert finished.stdout == "1\n", finished.stderr
    assert len(entries(cache_folder)) == 1


@pytest.fixture
def damaged(folder: Folder) -> ImageDataset:
    root = folder(*PATHS)
    (root / "a" / "0.png").write_bytes(b"")
    (root / "b" / "2.png").write_bytes((root / "b" / "2.png").read_bytes()[:200])
    dataset = load_folder(root)
    split = Split(train=np.array([0, 1, 7]), val=np.array([8, 9]), test=np.array([2]))
    return ImageDataset(**{**vars(dataset), "splits": {"given": split}})


def test_bad_images_are_left_out_counted_and_named(damaged: ImageDataset, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second time from the cache
        images = load_images(damaged, 8)
        assert [bad.id for bad in images.bad] == ["a/0.png", "b/2.png"]
        assert images.bad[0].reason == "empty file"
        assert (
            "2 of 12 images cannot be read and are left out: a/0.png (empty file), b/2.png (" in capsys.readouterr().err
        )
        kept = images.dataset
        assert len(kept) == len(images.source) == 10
        pixels = images.source.read(np.arange(10))
        np.testing.assert_array_equal(pixels, np.stack([decode(file, 8) for file in kept.images]))
        split = kept.splits["given"]
        assert [kept.ids[i] for i in split.train] == ["a/1.png", "b/1.png"]
        assert [kept.ids[i] for i in split.val] == ["b/3.png"]
        assert [kept.ids[i] for i in split.test] == ["a/2.png"]
        assert kept.labels.tolist() == [0] * 5 + [1] * 5


def test_bad_images_are_an_error_where_the_user_wants_it(damaged: ImageDataset) -> None:
    with pytest.raises(
        DataError, match=r"^2 of 12 images cannot be read: a/0\.png \(empty file\), b/2\.png \(.*skip\.$"
    ):
        load_images(damaged, 8, on_bad_image="error")


def test_no_more_than_five_bad_images_are_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(*[f"{name}/{number}.png" for name in ("a", "b") for number in range(9)])
    for number in range(8):
        (root / "a" / f"{number}.png").write_bytes(b"")
    load_images(load_folder(root), 8)
    assert "8 of 18 images" in (said := capsys.readouterr().err)
    assert "a/4.png (empty file) and 3 more." in said


def test_a_class_of_bad_images_only_is_an_error(folder: Folder) -> None:
    root = folder("a/1.png", "b/1.png", "c/1.png")
    (root / "b" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="has no readable image of 'b'; every class needs some"):
        load_images(load_folder(root), 8)


def test_the_digest_follows_content_and_labels(folder: Folder) -> None:
    root = folder(*PATHS)
    digests = [load_images(load_folder(root), size).digest for size in (8, 9)]
    assert digests[0] == digests[1]
    (root / "a" / "5.png").rename(root / "b" / "0.5.png")
    digests.append(load_images(load_folder(root), 8).digest)
    shutil.copy(root / "a" / "1.png", root / "a" / "0.png")
    digests.append(load_images(load_folder(root), 8).digest)
    assert len(set(digests)) == 3


def test_sets_larger_than_memory_are_read_from_their_files(
    folder: Folder, cache_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(folder(*PATHS))
    streamed = load_images(dataset, 8, memory_limit=12 * 8 * 8 * 3 - 1)
    cached = load_images(dataset, 8, memory_limit=12 * 8 * 8 * 3)
    indices = np.array([3, 11, 0, 3, 7, 1])
    np.testing.assert_array_equal(streamed.source.read(indices), cached.source.read(indices))
    assert streamed.source.read(indices[:0]).shape == (0, 8, 8, 3)
    assert streamed.digest_of_content() == cached.digest
    Path(str(dataset.images[0])).unlink()
    assert len(cached.source.read(indices)) == 6
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        streamed.source.read(indices)


def test_images_in_memory_are_resized_alike(dataset: Callable[..., ImageDataset], cache_folder: Path) -> None:
    made = dataset(2, 2)
    assert everything(made, 12).shape == (4, 12, 12, 3)
    np.testing.assert_array_equal(everything(made, 6), made.images)
    assert not (cache_folder / "decoded").exists()


def test_the_real_flowers_are_what_tflearn_feeds(flowers: Path, tmp_path: Path) -> None:
    for number in (1, 2, 81, 82):
        file = tmp_path / "some" / str((number - 1) // 80) / f"image_{number:04}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(flowers / "jpg" / file.name)
    dataset = load_folder(tmp_path / "some")
    for file, pixels in zip(dataset.images, everything(dataset, 96), strict=True):
        with Image.open(file) as image:
            expected = np.asarray(image.resize((96, 96), Image.Resampling.LANCZOS), "float32") / 255.0
        np.testing.assert_array_equal(pixels.astype("float32") / 255.0, expected)
