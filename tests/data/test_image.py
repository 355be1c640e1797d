from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from cnn_registry.data.formats import pillow_names
from cnn_registry.data.image import decode
from cnn_registry.errors import BadImageError

Picture = Callable[..., Image.Image]
FORMATS = pillow_names()
Transpose = Image.Transpose
LANCZOS = Image.Resampling.LANCZOS


def stored(image: Image.Image, format: str, **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream


def upright(image: Image.Image, size: int) -> np.ndarray:
    """The pixels that tflearn feeds, before it divides them by 255."""
    return np.asarray(image.resize((size, size), LANCZOS))


@pytest.mark.parametrize("format", FORMATS)
def test_pixels_are_those_of_a_plain_resize(picture: Picture, tmp_path: Path, format: str) -> None:
    file = tmp_path / f"image.{format.lower()}"
    picture(40, 30).save(file, format)
    pixels = decode(file, 24)
    assert pixels.shape == (24, 24, 3)
    assert pixels.dtype == np.uint8
    with Image.open(file) as image:
        np.testing.assert_array_equal(pixels, upright(image.convert("RGB"), 24))


def test_a_real_flower_has_the_pixels_that_tflearn_feeds(flowers: Path) -> None:
    file = flowers / "jpg" / "image_0001.jpg"
    with Image.open(file) as image:
        fed = np.asarray(image.resize((224, 224), LANCZOS), "float32") / 255.0
    np.testing.assert_array_equal(decode(file, 224).astype("float32") / 255.0, fed)


@pytest.mark.parametrize(
    ("orientation", "as_stored"),
    [
        (1, None),
        (2, Transpose.FLIP_LEFT_RIGHT),
        (3, Transpose.ROTATE_180),
        (4, Transpose.FLIP_TOP_BOTTOM),
        (5, Transpose.TRANSPOSE),
        (6, Transpose.ROTATE_90),
        (7, Transpose.TRANSVERSE),
        (8, Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_honoured(picture: Picture, orientation: int, as_stored: Transpose | None) -> None:
    image = picture(30, 20)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turned = image if as_stored is None else image.transpose(as_stored)
    np.testing.assert_array_equal(decode(stored(turned, "PNG", exif=exif), 16), upright(image, 16))


def test_grey_one_bit_and_palette_images_become_rgb(picture: Picture) -> None:
    for image in (picture().convert("L"), picture().convert("1"), picture().quantize(8)):
        np.testing.assert_array_equal(decode(stored(image, "PNG"), 8), upright(image.convert("RGB"), 8))


def test_cmyk_becomes_rgb() -> None:
    pixels = decode(stored(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), 8)
    np.testing.assert_allclose(pixels, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=4)


def test_sixteen_bits_keep_their_gradations() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = decode(stored(Image.fromarray(ramp), "PNG"), 16)
    np.testing.assert_array_equal(pixels, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 8, 4))
    pixels = decode(stored(image.convert(mode), "PNG"), 8)
    assert (pixels[:3] > 200).all()
    assert (pixels[5:] < 50).all()


def test_half_transparent_black_is_grey() -> None:
    pixels = decode(stored(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "WEBP", lossless=True, exact=True), 8)
    np.testing.assert_allclose(pixels, 127, atol=1)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pixels = decode(stored(frames[0], format, save_all=True, append_images=frames[1:]), 8)
    np.testing.assert_allclose(pixels, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=4)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_bad(picture: Picture, tmp_path: Path, format: str, share: float) -> None:
    content = stored(picture(64, 64), format).getvalue()
    file = tmp_path / "cut.img"
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadImageError, match=r"cut\.img cannot be read as an image: .+\.") as caught:
        decode(file, 8)
    assert "\n" not in str(caught.value)


def test_each_reason_is_stated_plainly(picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(name: str, content: bytes | None) -> str:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(BadImageError) as caught:
            decode(tmp_path / name, 8)
        return caught.value.reason

    whole = stored(picture(64, 64), "JPEG").getvalue()
    assert reason("missing.jpg", None) == "no such file or directory"
    assert reason("empty.jpg", b"") == "empty file"
    assert reason("text.jpg", b"<!doctype html>") == "not an image in a readable format"
    assert reason("cut.jpg", whole[: len(whole) // 2]) == "truncated"
    assert reason("ico.jpg", stored(picture(), "ICO").getvalue()) == "not an image in a readable format"
    assert reason("png.jpg", b"\x89PNG\r\n\x1a\n" + bytes(20)) == "PNG of a kind that cannot be decoded here"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)  # between once and twice the limit Pillow only warns
    bomb = "pixels, possibly a decompression bomb"
    assert reason("large.jpg", whole) == f"more than 4,095 {bomb}"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert reason("bomb.jpg", whole) == f"more than 100 {bomb}"


def test_a_stream_is_read_like_a_file_and_named_in_errors(picture: Picture) -> None:
    with pytest.raises(BadImageError, match="empty file"):
        decode(io.BytesIO(), 8)
    assert decode(stored(picture(), "PNG"), 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0" + struct.pack("<IHHHII", 8, 9, 0x010E, 2, 1000, 0xFFFF),  # of 9 entries, one is there: beyond the end
        b"no exif at all",
    ],
)
def test_damaged_exif_does_no_harm_and_warns_of_nothing(picture: Picture, exif: bytes) -> None:
    stream = stored(picture(), "JPEG", exif=b"Exif\0\0" + exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(stream, 8).shape == (8, 8, 3)
