"""Decoded images in the form that a network or a page takes."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .colour import over_white
from .dataset import Bytes
from .form import FILL, Form


def as_image(array: Bytes) -> Image.Image:
    """An image of an array ``(height, width)`` or ``(height, width, channels)``, with 1, 3 or 4 channels."""
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array))


def in_channels(image: Image.Image, channels: int) -> Image.Image:
    """A grey, RGB or RGBA image in another number of channels; without alpha it lies over white."""
    if channels == 4:
        return image.convert("RGBA")
    flat = over_white(image)
    return flat.convert("L") if channels == 1 else flat


def pixels(image: Image.Image, form: Form) -> Bytes:
    """A grey, RGB or RGBA image in a form, resized with a Lanczos filter: ``(height, width, channels)``.

    One of a reduced form is resized with Pillow's Hamming filter, which has a third of the taps.
    """
    image = in_channels(image, form.channels)
    if form.channels == 4:  # Pillow would multiply the colours by alpha first
        placed = [_placed(band, form, fill) for band, fill in zip(image.split(), FILL[4], strict=True)]
        return np.stack([np.asarray(band) for band in placed], axis=-1)
    fill = FILL[form.channels]
    found = np.asarray(_placed(image, form, fill[0] if form.channels == 1 else fill))
    return found[..., None] if form.channels == 1 else found


def _placed(image: Image.Image, form: Form, fill: int | tuple[int, ...]) -> Image.Image:
    height, width = form.frame
    if form.resize == "crop":
        framed = ImageOps.fit(image, (width, height), _filter(form))
    elif form.resize == "letterbox":
        framed = _within(image, form, fill)
    else:
        framed = image.resize((width, height), _filter(form))
    if form.frame == form.size:
        return framed
    top, left = form.corner
    return framed.crop((left, top, left + form.width, top + form.height))


def _filter(form: Form) -> Image.Resampling:
    return Image.Resampling.HAMMING if form.reduced else Image.Resampling.LANCZOS


def _within(image: Image.Image, form: Form, fill: int | tuple[int, ...]) -> Image.Image:
    """As `PIL.ImageOps.pad`, which fails where an edge would have no pixel left."""
    height, width = form.frame
    factor = min(width / image.width, height / image.height)
    size = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
    small = image.resize(size, _filter(form))
    if size == (width, height):
        return small
    canvas = Image.new(image.mode, (width, height), fill)
    canvas.paste(small, (round((width - size[0]) / 2), round((height - size[1]) / 2)))
    return canvas


def fitted(image: Image.Image, edge: int) -> Image.Image:
    """An image at its own aspect ratio, at most ``edge`` pixels wide and high; a smaller one as it is."""
    small = image.copy()
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return small


def data_url(picture: Bytes, format: str, **options: Any) -> str:
    """A picture as a ``data:`` address.

    Args:
        picture: ``(height, width, channels)``.
        format: Pillow's name of the format, such as ``"PNG"``.
        **options: as ``PIL.Image.Image.save`` takes for it.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
