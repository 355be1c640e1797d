"""Pixels of any kind that Pillow opens, as RGB or RGBA of 8 bits.

Images of 8 bits per channel keep their values. Those with more bits are scaled, because cutting off the lower half
would leave nothing of a picture whose values fill 12 of 16 bits, as X-ray and microscope images often do:

- If a TIFF states a range that holds its pixels (``MinSampleValue`` and ``MaxSampleValue``, or fewer than 16 bits per
  sample), this range becomes 0 to 255.
- Integers from 0 to 65,535 are taken to have as many bits as the largest of them needs, and at least 8: a detector of
  12 bits has values up to 4,095. At least 128 levels remain. Stretching each image to its own extremes instead would
  lose how bright it is.
- Integers outside of that range, and floats outside of 0 to 1, have no such convention: their own smallest value
  becomes 0 and their largest 255. Floats within 0 to 1 are taken as such.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

MAX_BITS = 16
"""Integers of more bits have no convention for their largest value."""

_DEEP_GREY = ("I", "F")
"""How the modes begin that have one channel of more than 8 bits: ``I``, ``I;16``, ``I;16B``, ``F`` ..."""

_SIXTEEN = re.compile(r"(RGB|RGBA|RGBX|CMYK);16([BLN])")
"""Pillow's raw modes of 16 bits per channel, from which it keeps the upper 8."""

_GREY_ALPHA = "LA;16B"

_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT, _PLANES = 262, 258, 339, 284
_RANGES = ((280, 281), (340, 341))
"""Numbers of TIFF tags; the ranges are (MinSampleValue, MaxSampleValue) and (SMinSampleValue, SMaxSampleValue)."""

_ROWS = 1024
"""Rows that are scaled at a time, so that a large image needs little memory besides its own."""


def load_pixels(image: Image.Image, again: Callable[[], ImageFile.ImageFile], *, alpha: bool = False) -> Image.Image:
    """The pixels of an open image as RGB, laid over white where it is transparent; or as RGBA.

    Args:
        image: an image whose pixels have not been read yet; or one in memory, of which nothing else is known.
        again: opens it once more. Pillow reads only the upper 8 of 16 bits of a colour; the lower ones need another
            pass.
        alpha: whether to keep how transparent it is.

    Raises:
        ValueError: no value of the image is finite, or its channels of 16 bits lie in planes of their own.
    """
    if _tag(image, _PLANES) == 2 and (_tag(image, _BITS) or 8) > 8:
        raise ValueError("a TIFF with more than 8 bits per channel in separate planes")  # Pillow reads each byte as one
    known = _with_known_values(image, again)
    return _with_alpha(known) if alpha else over_white(known)


def _with_known_values(image: Image.Image, again: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """The image with values of 8 bits."""
    raw = _raw_mode(image)
    image.load()
    if image.mode.startswith(_DEEP_GREY):
        return _grey(image)
    if raw == _GREY_ALPHA:
        return _grey_alpha(again())
    if (found := _SIXTEEN.fullmatch(raw)) and ("transparency" in image.info or _is_dark(image)):
        return _colour(image, _lower_bytes(again(), found[2]))
    if image.mode == "L" and _tag(image, _SAMPLE_FORMAT) == 2:
        return _scaled(np.asarray(image).view(np.int8), None)
    return image


def over_white(image: Image.Image) -> Image.Image:
    """The image as RGB, laid over white where it is transparent."""
    if image.has_transparency_data:
        image = _with_alpha(image)
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # which converts to nothing else
        image = image.convert("LA")
    if image.mode in ("RGB", "RGBA", "LA", "PA", "L", "P", "RGBa"):
        return image.convert("RGBA")
    return image.convert("RGB").convert("RGBA")  # CMYK, YCbCr and others, which convert to RGB only


def _grey(image: Image.Image) -> Image.Image:
    """One channel of more than 8 bits, as ``L``, or as ``LA`` if one of its values is transparent."""
    values = np.asarray(image)
    if image.mode == "I" and (_tag(image, _SAMPLE_FORMAT), _tag(image, _BITS)) in ((1, 32), (None, 32)):
        values = values.view(np.uint32)  # which Pillow reads as signed
    grey = _scaled(values, _stated_range(image))
    if _tag(image, _PHOTOMETRIC) == 0:  # "white is zero", which Pillow leaves to its caller for these modes
        grey = grey.point(lambda value: 255 - value)
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _stated_range(image: Image.Image) -> tuple[float, float] | None:
    """The range of values that a TIFF states."""
    for low, high in ((_tag(image, first), _tag(image, last)) for first, last in _RANGES):
        if high is not None:
            return (low or 0, high)
    bits = _tag(image, _BITS)
    return (0, 2 ** int(bits) - 1) if bits is not None and 8 < bits < 16 else None


def _tag(image: Image.Image, number: int) -> float | None:
    """The number in a TIFF tag if all channels have the same, or ``None``."""
    value = getattr(image, "tag_v2", {}).get(number)
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return value if isinstance(value, int | float) else None


def _scaled(values: NDArray[Any], stated: tuple[float, float] | None) -> Image.Image:
    """Values, ``(height, width)``, as ``L``."""
    low, high = _range(values, stated)
    grey = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS].astype(np.float64)
        rows = np.nan_to_num(rows, nan=low, posinf=high, neginf=low)
        grey[start : start + _ROWS] = np.rint((rows - low) * (255 / (high - low)))
    return Image.fromarray(grey)


def _range(values: NDArray[Any], stated: tuple[float, float] | None) -> tuple[float, float]:
    """The values that become 0 and 255."""
    integers = np.issubdtype(values.dtype, np.integer)
    finite = values if integers else values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("no pixel has a finite value")
    low, high = float(finite.min()), float(finite.max())
    if stated and stated[0] < stated[1] and stated[0] <= low and high <= stated[1]:
        return stated
    if integers and low >= 0 and high < 2**MAX_BITS:
        return 0, _largest(high)
    if not integers and low >= 0 and high <= 1:
        return 0, 1
    return (low, high) if low < high else (low - 1, low)


def _largest(value: float) -> int:
    """The largest value of as many bits as ``value`` needs, which are at least 8."""
    return (1 << max(8, int(value).bit_length())) - 1


def _raw_mode(image: Image.Image) -> str:
    """How the pixels of an unread image are stored, in Pillow's words; an empty string where it does not say."""
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _is_dark(image: Image.Image) -> bool:
    """Whether the upper 8 bits of 16 show that 14 or fewer are used."""
    extremes = image.getextrema()[:3]
    return max(int(high) for _, high in extremes) < 64  # type: ignore[misc]  # several channels, so pairs


def _lower_bytes(image: ImageFile.ImageFile, order: str) -> NDArray[np.uint8]:
    """The lower 8 bits of 16, ``(height, width, channels)``: read with the bytes of each value in the other order."""
    native = "L" if sys.byteorder == "little" else "B"
    swapped = "B" if (native if order == "N" else order) == "L" else "L"
    image.tile = [tile._replace(args=_with_order(tile.args, swapped)) for tile in image.tile]
    image.load()
    return np.asarray(image)


def _with_order(args: Any, order: str) -> Any:
    if isinstance(args, tuple):
        return (args[0][:-1] + order, *args[1:])
    return args[:-1] + order


def _colour(image: Image.Image, lower: NDArray[np.uint8]) -> Image.Image:
    """Colours of 16 bits, whose upper 8 Pillow has read, scaled alike to 8 bits each."""
    values = _joined(np.asarray(image), lower)
    if image.mode == "RGB" and "transparency" in image.info:
        opaque = (values != np.array(image.info["transparency"], np.uint16)).any(axis=2)
        values = np.dstack([values, np.where(opaque, np.uint16(65535), np.uint16(0))])
    alpha = values.shape[2] == 4 and image.mode != "CMYK"
    colours = values[..., :3] if alpha else values
    bands = [Image.fromarray(band) for band in np.moveaxis(_to_bytes(colours), 2, 0)]
    if alpha:
        bands.append(Image.fromarray(_to_bytes(values[..., 3])))
    return Image.merge("RGBA" if alpha else image.mode, bands)


def _grey_alpha(image: ImageFile.ImageFile) -> Image.Image:
    """Grey and alpha of 16 bits in a PNG: four bytes per pixel, read as if they were four channels."""
    image.tile = [tile._replace(args="RGBA") for tile in image.tile]
    image.load()
    stored = np.asarray(image)
    grey, alpha = (_to_bytes(_joined(stored[..., upper], stored[..., upper + 1])) for upper in (0, 2))
    return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))


def _joined(upper: NDArray[np.uint8], lower: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return np.left_shift(upper, 8, dtype=np.uint16) | lower


def _to_bytes(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Values of up to 16 bits as 8 bits."""
    largest = _largest(float(values.max()))
    table: NDArray[np.uint8] = np.rint(np.arange(largest + 1) * (255 / largest)).astype(np.uint8)
    return table[values]
