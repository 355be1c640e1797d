"""Ramps in every mode and depth that Pillow opens: all levels stay apart, in their order."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from cnn_registry.data.image import decode
from cnn_registry.errors import BadImageError

LEVELS = np.arange(256).reshape(16, 16)
"""A ramp of 256 levels, which decoding at 16 pixels does not resize."""

BYTE_ORDERS: tuple[Literal["<"], Literal[">"]] = ("<", ">")
COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate"]


def stored(image: Image.Image, format: str, **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream


def decoded(image: Image.Image, format: str, **options: Any) -> np.ndarray:
    return decode(stored(image, format, **options), 16)


def grey(pixels: np.ndarray) -> np.ndarray:
    """The levels of a grey image, ``(16, 16)``, integers."""
    assert pixels.shape == (16, 16, 3)
    assert (pixels[..., :1] == pixels).all()
    return pixels[..., 0].astype(int)


def is_ramp(levels: np.ndarray, *, at_least: int = 256) -> bool:
    """Whether the levels never fall and nearly all differ."""
    return bool((np.diff(levels.ravel()) >= 0).all()) and len(np.unique(levels)) >= at_least


def png(values: np.ndarray, colour: int, depth: int = 16, *chunks: bytes) -> io.BytesIO:
    """A PNG of 16 bits per channel, which Pillow does not write; ``colour`` is its colour type."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def tiff(
    values: np.ndarray,
    tags: Mapping[int, int] | None = None,
    *,
    order: Literal["<", ">"] = "<",
    compressed: bool = False,
) -> io.BytesIO:
    """A TIFF of any layout: ``tags`` by their numbers."""
    stored = values.astype(values.dtype.newbyteorder(order)).tobytes()
    if compressed:
        stored = zlib.compress(stored)
    height, width, channels = (*values.shape, 1)[:3]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries = {256: width, 257: height, 258: values.itemsize * 8, 259: 8 if compressed else 1, 262: 1, 273: 0}
    entries |= {277: channels, 278: height, 279: len(stored), 339: kind} | dict(tags or {})
    entries[273] = 10 + 12 * len(entries) + 4
    directory = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    for number, value in sorted(entries.items()):
        directory += struct.pack(f"{order}HHII", number, 4, 1, value)
    return io.BytesIO(directory + bytes(4) + stored)


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_grey_of_eight_bits_stays_as_it_is(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    image = Image.fromarray(LEVELS.astype(np.uint8))
    np.testing.assert_array_equal(grey(decoded(image, format, **options)), LEVELS)


@pytest.mark.parametrize(("bits", "levels"), [(1, 2), (2, 4), (4, 16)])
def test_fewer_than_eight_bits_fill_the_range(bits: int, levels: int) -> None:
    packed = np.packbits(np.unpackbits(np.arange(levels, dtype=np.uint8)[:, None], axis=1)[:, -bits:].ravel())
    rows = np.broadcast_to(np.concatenate([[0], packed]), (levels, 1 + len(packed))).astype(np.uint8)
    header = struct.pack(">IIBBBBB", levels, levels, bits, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")
    stream = io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    pixels = decode(stream, levels)
    np.testing.assert_array_equal(pixels[0, :, 0], np.linspace(0, 255, levels).astype(int))


@pytest.mark.parametrize("bits", [8, 10, 11, 12, 14, 15, 16])
def test_grey_in_sixteen_bits_is_scaled_by_the_bits_that_it_uses(bits: int) -> None:
    ramp = np.rint(LEVELS * ((2**bits - 1) / 255)).astype(np.uint16)
    little = Image.fromarray(ramp)
    streams = [stored(little, "PNG"), tiff(ramp), tiff(ramp, order=">")]
    streams += [tiff(ramp, order=order, compressed=True) for order in BYTE_ORDERS]
    streams += [stored(little, "TIFF", compression=compression) for compression in COMPRESSIONS]
    for stream in streams:
        np.testing.assert_array_equal(grey(decode(stream, 16)), LEVELS)


def test_at_least_half_of_the_levels_remain_and_the_order_does() -> None:
    for largest in (300, 600, 1100, 2048, 5000, 33_000, 65_000):
        ramp = np.rint(LEVELS * (largest / 255)).astype(np.uint16)
        assert is_ramp(grey(decoded(Image.fromarray(ramp), "PNG")), at_least=128), largest


@pytest.mark.parametrize(
    ("dtype", "order"),
    [(np.uint32, "<"), (np.int32, "<"), (np.int32, ">"), (np.int16, "<"), (np.int16, ">"), (np.float32, "<")],
)
def test_wide_integers_and_floats_keep_their_levels(dtype: type, order: Literal["<", ">"]) -> None:
    for low, high in ((0, 255), (0, 32_767), (-1000, 3000), (0, 1_000_000), (0, 2**31 - 1)):
        if np.issubdtype(dtype, np.integer) and not np.iinfo(dtype).min <= low < high <= np.iinfo(dtype).max:
            continue
        ramp = np.rint(low + LEVELS * ((high - low) / 255)).astype(dtype)
        levels = grey(decode(tiff(ramp, order=order), 16))
        assert is_ramp(levels, at_least=250), (low, high)


def test_unsigned_integers_above_half_the_range_are_not_negative() -> None:
    ramp = (LEVELS.astype(np.uint64) * ((2**32 - 1) // 255)).astype(np.uint32)
    np.testing.assert_array_equal(grey(decode(tiff(ramp), 16)), LEVELS)


def test_floats_from_zero_to_one_keep_their_brightness() -> None:
    np.testing.assert_array_equal(grey(decode(tiff((LEVELS / 255).astype(np.float32)), 16)), LEVELS)
    half = grey(decode(tiff((LEVELS / 510).astype(np.float32)), 16))
    assert half.max() == 128


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1.1), (0, 255), (-5, -2), (1e-3, 1e30)])
def test_other_floats_are_stretched(low: float, high: float) -> None:
    ramp: np.ndarray = (low + LEVELS * ((high - low) / 255)).astype(np.float32)
    np.testing.assert_allclose(grey(decode(tiff(ramp), 16)), LEVELS, atol=1)


def test_values_that_are_not_finite_are_the_extremes() -> None:
    ramp = (LEVELS * 100.0).astype(np.float32)
    ramp[0, :3] = np.nan, np.inf, -np.inf
    levels = grey(decode(tiff(ramp), 16))
    assert levels[0, :3].tolist() == [0, 255, 0]
    assert is_ramp(levels.ravel()[3:], at_least=253)
    with pytest.raises(BadImageError, match="no pixel has a finite value"):
        decode(tiff(np.full((16, 16), np.nan, np.float32)), 16)


def test_a_constant_image_is_read() -> None:
    for value in (0, 700, 65535):
        assert len(np.unique(decode(tiff(np.full((16, 16), value, np.uint16)), 16))) == 1
    for real in (-3.0, 0.5, 700.0):
        assert len(np.unique(decode(tiff(np.full((16, 16), real, np.float32)), 16))) == 1


def test_a_range_that_a_tiff_states_is_used_if_it_holds_the_pixels() -> None:
    ramp = (LEVELS * 2 + 100).astype(np.uint16)
    assert grey(decode(tiff(ramp, {280: 100, 281: 610}), 16)).ravel().tolist() == list(range(256))
    assert grey(decode(tiff(ramp, {281: 1220}), 16)).max() == round(610 / 1220 * 255)
    without = grey(decode(tiff(ramp), 16))
    for wrong in ({280: 500, 281: 100}, {281: 600}, {280: 101, 281: 700}):
        np.testing.assert_array_equal(grey(decode(tiff(ramp, wrong), 16)), without)


def test_twelve_bits_per_sample_are_not_taken_for_ten() -> None:
    values = (LEVELS * 3).astype(int)  # below 1023
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    stream = tiff(np.zeros((16, 24), np.uint8), {256: 16, 258: 12, 279: packed.size})
    content = stream.getvalue()[: -packed.size] + packed.astype(np.uint8).tobytes()
    assert grey(decode(io.BytesIO(content), 16)).max() == round(765 / 4095 * 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("compressed", [False, True])
def test_white_is_zero_is_inverted(dtype: type, compressed: bool) -> None:
    ramp: np.ndarray = (LEVELS * (257 if dtype == np.uint16 else 1 / 255)).astype(dtype)
    np.testing.assert_array_equal(grey(decode(tiff(ramp, {262: 0}, compressed=compressed), 16)), 255 - LEVELS)


def test_signed_bytes_are_a_ramp() -> None:
    np.testing.assert_array_equal(grey(decode(tiff((LEVELS - 128).astype(np.int8)), 16)), LEVELS)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_colours_of_sixteen_bits_are_scaled_by_the_bits_that_they_use(bits: int) -> None:
    ramp = np.rint(LEVELS * ((2**bits - 1) / 255)).astype(np.uint16)
    colours = np.dstack([ramp, ramp[::-1], ramp.T])
    expected = np.dstack([LEVELS, LEVELS[::-1], LEVELS.T])
    streams = [png(colours, 2)]
    for order in BYTE_ORDERS:
        streams += [tiff(colours, {262: 2}, order=order, compressed=compressed) for compressed in (False, True)]
    for stream in streams:
        np.testing.assert_array_equal(decode(stream, 16), expected)
    full = np.full_like(ramp, 2**bits - 1)
    np.testing.assert_array_equal(decode(png(np.dstack([colours, full]), 6), 16), expected)
    np.testing.assert_array_equal(grey(decode(png(np.dstack([ramp, full]), 4), 16)), LEVELS)


def test_colours_of_sixteen_bits_that_use_all_are_those_of_pillow() -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    np.testing.assert_array_equal(decode(png(colours, 2), 16), colours >> 8)


def test_a_transparent_value_of_sixteen_bits_is_white_and_no_other_is() -> None:
    ramp = (LEVELS * 16).astype(np.uint16)
    trns = chunk(b"tRNS", struct.pack(">H", 160))
    expected = np.where(LEVELS == 10, 255, np.rint(ramp * (255 / 4095))).astype(int)
    np.testing.assert_array_equal(grey(decode(png(ramp, 0, 16, trns), 16)), expected)
    colours, trns = np.dstack([ramp] * 3), chunk(b"tRNS", struct.pack(">HHH", 160, 160, 160))
    np.testing.assert_array_equal(grey(decode(png(colours, 2, 16, trns), 16)), expected)


def test_transparency_of_a_palette_is_laid_over_white() -> None:
    image = Image.fromarray(LEVELS.astype(np.uint8)).convert("P")
    image.putpalette([level for level in range(256) for _ in range(3)])
    by_index = grey(decoded(image, "PNG", transparency=7))
    np.testing.assert_array_equal(by_index, np.where(LEVELS == 7, 255, LEVELS))
    by_bytes = grey(decoded(image, "PNG", transparency=bytes(range(256))))
    np.testing.assert_allclose(by_bytes, 255 - LEVELS * (255 - LEVELS) / 255, atol=1)
    assert grey(decoded(image, "GIF", transparency=7))[0, 7] == 255


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_opaque_modes_with_alpha_are_ramps(mode: str) -> None:
    image = Image.fromarray(LEVELS.astype(np.uint8)).convert("LA")
    if mode in ("RGBA", "PA"):
        image = image.convert("RGBA")
    image = image if mode == image.mode else image.convert(mode)
    assert is_ramp(grey(decoded(image, "TIFF")), at_least=250 if mode != "PA" else 200)


@pytest.mark.parametrize(("channels", "photometric"), [(2, 1), (4, 2)], ids=["La", "RGBa"])
def test_premultiplied_alpha_is_a_ramp(channels: int, photometric: int) -> None:
    opaque = np.dstack([LEVELS] * (channels - 1) + [np.full((16, 16), 255)]).astype(np.uint8)
    tags = {262: photometric, 338: 1}
    np.testing.assert_array_equal(grey(decode(tiff(opaque, tags), 16)), LEVELS)
    half = (opaque // 2).astype(np.uint8)
    np.testing.assert_allclose(grey(decode(tiff(half, tags), 16)), LEVELS / 2 + 128, atol=2)


@pytest.mark.parametrize(
    ("mode", "compression"), [("YCbCr", "raw"), *((mode, kind) for mode in ("CMYK", "LAB") for kind in COMPRESSIONS)]
)
def test_other_colour_spaces_are_ramps_of_grey(mode: str, compression: str) -> None:
    image = Image.fromarray(LEVELS.astype(np.uint8)).convert("RGB")
    if mode == "LAB":
        neutral = Image.new("L", (16, 16), 128)
        image = Image.merge("LAB", (Image.fromarray(LEVELS.astype(np.uint8)), neutral, neutral))
    else:
        image = image.convert(mode)
    pixels = decoded(image, "TIFF", compression=compression).astype(int)
    assert (np.ptp(pixels, axis=2) <= 3).all()
    assert is_ramp(pixels[..., 1], at_least=230)


def test_a_jpeg_in_every_mode_is_a_ramp() -> None:
    ramp = Image.fromarray(np.repeat(LEVELS.astype(np.uint8), 8, axis=1)).resize((256, 256))
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        pixels = decode(stored(ramp.convert("RGB").convert(mode), "JPEG", quality=100), 256).astype(int)
        np.testing.assert_allclose(pixels, np.asarray(ramp.convert("RGB")), atol=6)


def test_orientation_of_deep_grey_is_honoured() -> None:
    ramp = (LEVELS * 16).astype(np.uint16)
    for orientation, expected in (
        (1, LEVELS),
        (3, LEVELS[::-1, ::-1]),
        (6, np.rot90(LEVELS, -1)),
        (8, np.rot90(LEVELS)),
    ):
        tags = ImageFileDirectory_v2()
        tags[274] = orientation
        stream = stored(Image.fromarray(ramp), "TIFF", tiffinfo=tags)
        np.testing.assert_allclose(grey(decode(stream, 16)), np.rint(expected * 16 * (255 / 4095)))


@pytest.mark.parametrize("order", BYTE_ORDERS)
def test_planes_of_sixteen_bits_are_refused(order: Literal["<", ">"]) -> None:
    # Pillow reads them without a complaint, each byte as a pixel.
    values = np.stack([LEVELS * 257] * 3, axis=-1).astype(np.uint16)
    with pytest.raises(BadImageError, match="separate planes"):
        decode(planes(values, order), 16)


def test_planes_of_eight_bits_are_a_ramp() -> None:
    assert (grey(decode(planes(np.stack([LEVELS] * 3, axis=-1).astype(np.uint8), "<"), 16)) == LEVELS).all()


def planes(values: np.ndarray, order: Literal["<", ">"]) -> io.BytesIO:
    """A TIFF of RGB with one strip for each channel."""
    height, width, channels = values.shape
    plane = height * width * values.itemsize
    lists = {258: [8 * values.itemsize] * 3, 273: [0] * 3, 279: [plane] * 3}
    single = {256: width, 257: height, 259: 1, 262: 2, 277: channels, 278: height, 284: 2}
    after = 10 + 12 * (len(lists) + len(single)) + 4
    lists[273] = [after + 36 + plane * channel for channel in range(3)]
    offsets = {number: after + 12 * place for place, number in enumerate(lists)}
    directory = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(lists) + len(single))
    for number in sorted(lists | single):
        count, value = (3, offsets[number]) if number in lists else (1, single[number])
        directory += struct.pack(f"{order}HHII", number, 4, count, value)
    words = b"".join(struct.pack(f"{order}3I", *numbers) for numbers in lists.values())
    pixels = np.moveaxis(values, 2, 0).astype(values.dtype.newbyteorder(order)).tobytes()
    return io.BytesIO(directory + bytes(4) + words + pixels)


@pytest.mark.parametrize(("dtype", "tags"), [(np.float64, {}), (np.float16, {}), (np.uint16, {262: 1, 258: 24})])
def test_what_pillow_cannot_open_is_named_by_its_format(dtype: type, tags: dict[int, int]) -> None:
    with pytest.raises(BadImageError, match="TIFF of a kind that cannot be decoded here"):
        decode(tiff(LEVELS.astype(dtype), tags), 16)
