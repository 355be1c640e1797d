"""The image formats that are read: their names, their suffixes, and which of them this installation can decode."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, features


class Format(NamedTuple):
    """One image format.

    Attributes:
        name: the name in messages. In upper case it is Pillow's.
        suffixes: file name endings, in lower case.
    """

    name: str
    suffixes: tuple[str, ...]


FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")),
    Format("PNG", (".png",)),
    Format("WebP", (".webp",)),
    Format("BMP", (".bmp",)),
    Format("GIF", (".gif",)),
    Format("TIFF", (".tif", ".tiff")),
    Format("AVIF", (".avif",)),
    Format("HEIF", (".heic", ".heif")),
)

_OPTIONAL = {"WEBP": "webp", "AVIF": "avif"}
"""Pillow registers these even if it was built without their decoders."""

HEIF_HINT = "To read HEIC and HEIF: pip install pillow-heif."


@functools.cache
def readable() -> tuple[Format, ...]:
    """The formats that this installation decodes; HEIF only where `pillow_heif` is installed."""
    _register_heif()
    Image.init()
    return tuple(entry for entry in FORMATS if _decodes(entry.name.upper()))


def suffixes() -> frozenset[str]:
    """The suffixes of all readable formats."""
    return frozenset(suffix for entry in readable() for suffix in entry.suffixes)


def pillow_names() -> tuple[str, ...]:
    """Pillow's names of the readable formats, for ``Image.open(formats=...)``."""
    return tuple(entry.name.upper() for entry in readable())


def listed() -> str:
    """The readable formats as a message names them: ``"JPEG, PNG or GIF"``."""
    names: Sequence[str] = [entry.name for entry in readable()]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _decodes(name: str) -> bool:
    return name in Image.OPEN and (name not in _OPTIONAL or bool(features.check(_OPTIONAL[name])))


def _register_heif() -> None:
    """Register `pillow_heif`'s decoder with Pillow, as each program has to that wants it."""
    if "HEIF" in Image.OPEN:
        return
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except Exception:  # a broken installation of it is as good as none
        return
