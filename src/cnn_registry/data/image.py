"""One image file to one square of RGB pixels."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from cnn_registry.errors import BadImageError

from .dataset import Bytes

MAX_BYTES = 2**30
"""The largest file that is taken for an image."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def decode(source: Path | BinaryIO, size: int) -> Bytes:
    """`decode_sizes` at one size."""
    return decode_sizes(source, (size,))[0]


def decode_sizes(source: Path | BinaryIO, sizes: Iterable[int]) -> list[Bytes]:
    """Read an image once as RGB and resize it to squares, without keeping its aspect.

    The orientation in its EXIF data is honoured. Grey, CMYK, palette and 16-bit images become RGB; what is transparent
    is laid over white, as a page shows it. Of an animation the first frame is taken. The pixels equal
    ``np.asarray(image.resize((size, size), LANCZOS))`` of the RGB image, which is what tflearn feeds.

    Args:
        source: a JPEG, PNG, WebP, BMP or GIF file, or a binary stream of one.
        sizes: edge lengths in pixels.

    Returns:
        ``(size, size, 3)``, uint8, for each size.

    Raises:
        BadImageError: the file is missing, empty, truncated, of another format, no regular file or larger than
            `MAX_BYTES`, or has more pixels than Pillow's limit for what may be a decompression bomb.
    """
    _silence_pillow()
    file = getattr(source, "name", source) if not isinstance(source, Path) else source
    if isinstance(source, Path):
        check_file(source)
    try:
        with Image.open(source, formats=FORMATS) as image:
            _check_pixels(image)
            image.load()
            whole = _rgb(_upright(image))
            return [resized(whole, size) for size in sizes]
    except Exception as error:  # decoders raise anything on a damaged file
        raise BadImageError(str(file), _reason(source, error)) from error


def check_file(file: Path) -> None:
    """Refuse what would be read without an end: a link to a device, a pipe, a file of many gigabytes.

    Raises:
        BadImageError: it is one of these. One that is missing passes.
    """
    with suppress(OSError):
        facts = file.stat()
        if not S_ISREG(facts.st_mode):
            raise BadImageError(str(file), "not a regular file")
        if facts.st_size > MAX_BYTES:
            raise BadImageError(str(file), f"more than {MAX_BYTES:,} bytes")


def resized(image: Image.Image, size: int) -> Bytes:
    """The pixels, ``(size, size, 3)``, of an RGB image resized by Lanczos' filter."""
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data says; damaged data says nothing."""
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image  # which Pillow would copy
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises whatever reading or rewriting the data runs into
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode.startswith("I"):  # 16 bits in one channel, which convert() would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def _check_pixels(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS  # Pillow itself refuses only twice as many, and warns between
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError


def _silence_pillow() -> None:
    """Keep Pillow's warnings about odd files off the user's terminal.

    ``warnings.catch_warnings`` is not safe in threads, so the filter stays; it is put in again where someone reset
    the filters since.
    """
    if not warnings.filters or warnings.filters[0] != _PILLOW_WARNINGS:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _reason(source: Path | BinaryIO, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, it may be a decompression bomb"
    if isinstance(error, UnidentifiedImageError):
        return "empty file" if _is_empty(source) else "not a JPEG, PNG, WebP, BMP or GIF image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split()) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else text


def _is_empty(source: Path | BinaryIO) -> bool:
    if isinstance(source, Path):
        return source.stat().st_size == 0
    return source.seek(0, io.SEEK_END) == 0
