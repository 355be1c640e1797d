"""The forms in which pictures are given, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data.image import decode
from cnn_registry.errors import BadImageError, DataError, UsageError
from cnn_registry.inference.pictures import BATCH_SIZE, Picture, decoded_batches, given

GREY, RED = np.zeros((6, 5), np.uint8), np.full((6, 5, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (RED / 255, r"values from 0 to 255 in uint8; got float64\. Scale it to 0 to 255"),
        (RED.astype(np.int64), r"in uint8; got int64\.$"),
        (GREY[None], r"shape \(H, W, C\) or \(N, H, W, C\), .*; got \(1, 6, 5\)\. Give grey pictures an axis"),
        (np.zeros((6, 5, 2), np.uint8), r"got \(6, 5, 2\)"),
        (np.zeros((2, 3, 6, 5), np.uint8), r"got \(2, 3, 6, 5\)"),
        (np.zeros((1, 2, 6, 5, 3), np.uint8), r"got \(1, 2, 6, 5, 3\)"),
        (np.zeros((0, 6, 5, 3), np.uint8), r"got \(0, 6, 5, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), r"got \(0, 5, 3\)"),
        ([], "There are no pictures: .*; got an empty list"),
        ((), "got an empty tuple"),
        (iter([]), "got an iterator without items"),
        (b"\xff\xd8", "Pictures are given as a path, .*; got bytes"),
        ({"a.png": 1}, "got dict"),
        (7, "got int"),
        (None, "got NoneType"),
        ([RED, 7], "an item of type int"),
        ([RED, GREY[0]], r"got \(5,\)"),
        ([[RED]], "an item of type list"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", value)[-30:] if isinstance(value, str) else type(value).__name__,
)
def test_other_forms_are_refused_in_one_line(images: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        list(given(images).pictures)
    assert "\n" not in str(caught.value)


def test_a_folder_of_nothing_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        list(given(tmp_path).pictures)
    found = given(str(tmp_path / "none.png"))
    assert found.kind == "one"
    with pytest.raises(BadImageError, match=r"none\.png cannot be read as an image: no such file"):
        next(found.pictures).pixels(4)


@pytest.mark.parametrize("name", ["RGB.png", "L.png", "P.gif", "RGBA.png", "1.png", "I;16.png", "turned.jpg"])
def test_an_image_of_pillow_has_the_pixels_of_its_file(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    file, image = tmp_path / name.replace(";", ""), Image.fromarray(noise)
    if name == "I;16.png":
        Image.fromarray(noise[..., 0].astype(np.uint16) << 4).save(file)
    elif name == "turned.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(file, exif=exif)
    else:
        image.convert(name.partition(".")[0]).save(file)
    wanted = decode(file, 8)
    with Image.open(file) as unread:
        np.testing.assert_array_equal(Picture(None, unread).pixels(8), wanted)
    with Image.open(file) as read:
        read.load()
        mode = read.mode
        np.testing.assert_array_equal(Picture(None, read).pixels(8), wanted)
        assert read.mode == mode, "the user's own image stays as it is"


def test_a_damaged_image_of_pillow_is_one_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    with Image.open(tmp_path / "cut.png") as cut, pytest.raises(BadImageError, match=r"cut\.png .*: truncated"):
        Picture(None, cut).pixels(4)
    with pytest.raises(BadImageError, match="no pixels"):
        Picture(None, Image.new("RGB", (0, 3))).pixels(4)
    with pytest.raises(BadImageError, match="more than 8 pixels"):
        Picture(None, Image.new("RGB", (3, 3))).pixels(4, max_pixels=8)


def test_what_has_no_end_is_taken_a_few_batches_ahead() -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield RED

    found = given(endless())
    assert found.kind == "stream"
    first = next(decoded_batches(found.pictures, 4))
    assert len(first.pictures) == BATCH_SIZE
    assert first.readable is not None
    assert first.readable.shape == (BATCH_SIZE, 4, 4, 3)
    assert taken < 20 * BATCH_SIZE
