"""Refuse image files that would keep a decoder busy for minutes, though they are small and have few pixels.

Pillow bounds the pixels of an image, and the size of its texts and profiles. It does not bound the number of parts that
a file consists of, each of which takes time: a progressive JPEG may refine its image in any number of scans, a TIFF may
have millions of strips, and a run-length encoded BMP is decoded by a loop in Python. The limits here are far above what
cameras, scanners and editors write. On one core, a file just below them takes a few seconds.
"""

from __future__ import annotations

import os
import re
import struct
from typing import Any, BinaryIO, NamedTuple

MAX_SEGMENTS = 2048
"""Segments of a JPEG besides its scans."""
MAX_FILL = 4096
"""Bytes that a JPEG may have between segments."""
MAX_SCANS, FEW_SCANS = 100, 16
"""Scans of a JPEG, and how many it may have whatever its size. Editors write about ten."""
MAX_SCANNED = 2**32
"""Pixels times scans of a JPEG with more than `FEW_SCANS` scans."""
MAX_CHUNKS, MAX_IMAGE_CHUNKS = 4096, 2**18
"""Chunks of a PNG before its second frame: those besides the image data, and those of the image data."""
MAX_BLOCKS = 2**17
"""Blocks of a GIF before its first frame."""
MAX_RUN_LENGTH = 2**24
"""Bytes and pixels of a run-length encoded BMP."""
MAX_TAGS, MAX_STRIPS = 4096, 2**18
"""Tags of a TIFF directory, and strips or tiles of its image."""

_BLOCK = 1 << 16
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""A marker that ends the data of a scan and that begins a segment: not an escaped byte, a restart, or fill."""
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of segments that hold the size of the image."""
_STRIPS = (273, 279, 324, 325)
"""TIFF tags: offsets and lengths of strips and of tiles."""
_DIRECTORIES = (34665, 34853, 40965)
"""TIFF tags that point to a further directory: EXIF, GPS and interoperability."""
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def screen(stream: BinaryIO) -> None:
    """Look at the structure of an image file before it is decoded. A damaged one passes: the decoder will report it.

    Args:
        stream: of the file, seekable. Its position changes.

    Raises:
        ValueError: the file is made of too many parts; the message is the reason, as `BadImageError` has it.
    """
    stream.seek(0)
    start = stream.read(8)
    for signature, check in _CHECKS:
        if start.startswith(signature):
            try:
                check(stream)
            except (struct.error, IndexError):  # the file ends here
                return
            return


def _screen_jpeg(stream: BinaryIO) -> None:
    position, pixels, scans, segments, exif = 2, 0, 0, 0, 0
    while True:
        marker, position = _next_marker(stream, position, in_scan=scans > 0)
        if marker == _EOI:
            return
        stream.seek(position)
        length, body = struct.unpack(">H", stream.read(2))[0], stream.read(6)
        if marker == _SOS:
            scans += 1
            if scans > MAX_SCANS or (scans > FEW_SCANS and scans * pixels > MAX_SCANNED):
                raise ValueError(f"more than {scans - 1} scans")
        else:
            segments += 1
            exif += marker == _APP1 and body.startswith(b"Exif")
            if segments > MAX_SEGMENTS or exif > MAX_SEGMENTS // 32:  # Pillow joins these, one by one
                raise ValueError(f"more than {segments - 1:,} segments")
        if marker in _SIZES:
            height, width = struct.unpack(">HH", body[1:5])
            pixels = height * width
        position += max(length, 2)


def _next_marker(stream: BinaryIO, position: int, *, in_scan: bool) -> tuple[int, int]:
    """The next marker of a JPEG from ``position`` and where it ends."""
    began, kept = position, b""
    stream.seek(position)
    while block := stream.read(_BLOCK):
        block = kept + block
        if found := _MARKER.search(block):
            if not in_scan and found.start() + position - began > MAX_FILL:
                break
            return found[0][1], position + found.end()
        kept = b"\xff" if block.endswith(b"\xff") else b""
        position += len(block) - len(kept)
        if not in_scan and position - began > MAX_FILL:
            break
    else:
        raise IndexError
    raise ValueError(f"more than {MAX_FILL:,} bytes between two segments")


def _screen_png(stream: BinaryIO) -> None:
    position, chunks, of_image = 8, 0, 0
    while True:
        stream.seek(position)
        length, kind = struct.unpack(">I4s", stream.read(8))
        if kind == b"IEND" or (kind == b"fcTL" and of_image):
            return
        if kind in (b"IDAT", b"fdAT"):
            of_image += 1
        else:
            chunks += 1
        if chunks > MAX_CHUNKS or of_image > MAX_IMAGE_CHUNKS:
            raise ValueError(f"more than {chunks + of_image - 1:,} chunks")
        position += length + 12


def _screen_gif(stream: BinaryIO) -> None:
    stream.seek(10)
    flags = stream.read(3)[0]
    stream.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    blocks = 0
    while (byte := stream.read(1)) not in (b"", b",", b";"):
        blocks += 1
        if byte == b"!":
            stream.read(1)
            while length := stream.read(1)[0]:
                stream.seek(length, os.SEEK_CUR)
                blocks += 1
                if blocks > MAX_BLOCKS:
                    break
        if blocks > MAX_BLOCKS:
            raise ValueError(f"more than {MAX_BLOCKS:,} blocks before the first frame")


def _screen_bmp(stream: BinaryIO) -> None:
    stream.seek(14)
    size, width, height, _, _, compression = struct.unpack("<IiiHHI", stream.read(20))
    if size < 40 or compression not in (1, 2):
        return
    length = stream.seek(0, os.SEEK_END)
    if length > MAX_RUN_LENGTH or abs(width * height) > MAX_RUN_LENGTH:
        raise ValueError(f"run-length encoded, with more than {MAX_RUN_LENGTH:,} bytes or pixels")


class _Layout(NamedTuple):
    """How a TIFF stores numbers: the byte order, and the formats of the number of tags, of a tag and of an offset."""

    order: str
    number: str
    tag: str
    offset: str


def _screen_tiff(stream: BinaryIO) -> None:
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = stream.read(16)
    order = "<" if start.startswith(b"II") else ">"
    if struct.unpack(f"{order}H", start[2:4])[0] == 43:
        layout, first = _Layout(order, "Q", "HHQ8s", "Q"), struct.unpack(f"{order}Q", start[8:16])[0]
    else:
        layout, first = _Layout(order, "H", "HHI4s", "I"), struct.unpack(f"{order}I", start[4:8])[0]
    _screen_directory(stream, layout, first, length, nested=True)


def _screen_directory(stream: BinaryIO, layout: _Layout, offset: int, length: int, *, nested: bool) -> None:
    stream.seek(min(offset, length))
    [tags] = _unpacked(stream, layout.order + layout.number)
    if tags > MAX_TAGS:
        raise ValueError(f"more than {MAX_TAGS:,} tags")
    directories: list[int] = []
    held = 0
    for _ in range(tags):
        tag, kind, count, value = _unpacked(stream, layout.order + layout.tag)
        held += count * _TYPE_SIZES.get(kind, 1)
        if held > 2 * length:
            raise ValueError("tags that are larger than the file")
        if tag in _STRIPS and count > MAX_STRIPS:
            raise ValueError(f"more than {MAX_STRIPS:,} strips or tiles")
        if tag in _DIRECTORIES and nested:
            directories += struct.unpack(layout.order + layout.offset, value)
    for place in directories:
        _screen_directory(stream, layout, place, length, nested=False)


def _unpacked(stream: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


_CHECKS = (
    (b"\xff\xd8", _screen_jpeg),
    (b"\x89PNG\r\n\x1a\n", _screen_png),
    (b"GIF8", _screen_gif),
    (b"BM", _screen_bmp),
    (b"II", _screen_tiff),
    (b"MM", _screen_tiff),
)
