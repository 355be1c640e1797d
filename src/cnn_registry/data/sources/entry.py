"""One entry of the cache of decoded images: a folder that is whole and undamaged, or not used.

It holds ``images.npy``, the pixels of all readable images in order, and ``index.json``: which files cannot be read, and
SHA-256 digests of the pixels, block by block, and of itself. A file with one flipped bit is found before it is used.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple
from weakref import finalize

import numpy as np

from cnn_registry.data.dataset import Bytes
from cnn_registry.data.threads import in_threads
from cnn_registry.system.cache import hold, make_room
from cnn_registry.system.files import is_own_folder
from cnn_registry.system.progress import note, progress
from cnn_registry.system.sealed import json_digest
from cnn_registry.text import one_line

BLOCK = 1 << 22
"""Bytes of pixels that have one digest."""

LARGE = 1 << 31
"""Bytes of pixels that take so long to check that a line says so."""

_INDEX, _PIXELS = "index.json", "images.npy"


class Content(NamedTuple):
    """What an entry holds.

    Attributes:
        pixels: ``(N, height, width, channels)``, mapped from the file.
        reasons: why files cannot be read, by their position.
    """

    pixels: Bytes
    reasons: dict[int, str]


def read_entry(entry: Path, count: int, shape: tuple[int, int, int]) -> Content | None:
    """The content of an entry, or ``None`` if it has to be made again; one that cannot be used is removed, with a note.

    Nothing of a file is read or mapped before its size is known to be right, so a file that claims to be huge takes no
    memory. Links, pipes and devices are not followed or opened.

    Args:
        entry: its folder.
        count: files of the dataset.
        shape: ``(height, width, channels)`` of an image.
    """
    if not _exists(entry):
        return None
    try:
        reasons, digests = _read_index(entry, count)
        if digests is not None:  # an earlier version kept which files cannot be read without the pixels of the others
            with suppress(OSError):
                os.utime(entry)  # `cnnreg cache` shows when it was last used
            return Content(_read_pixels(entry, (count - len(reasons), *shape), digests), reasons)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        note(f"The decoded images in {entry} cannot be used and are decoded again: {reason}.")
    _remove(entry)
    return None


def write_entry(entry: Path, pixels: Bytes, reasons: dict[int, str]) -> bool:
    """Put an entry in its place in one step, and say whether it is there. One of another process is as good."""
    if not make_room(pixels.nbytes):
        return False
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".") as temporary:
            made = Path(temporary) / entry.name
            made.mkdir()
            np.save(made / _PIXELS, pixels)
            body = {"bad": {str(index): reason for index, reason in reasons.items()}, "blocks": _digests(pixels)}
            (made / _INDEX).write_text(json.dumps({"sha256": json_digest(body), **body}), encoding="utf-8")
            made.rename(entry)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and is_own_folder(entry):
            return True
        note(f"The decoded images could not be cached in {entry.parent} ({one_line(error)}).")
        return False
    return True


def _read_index(entry: Path, count: int) -> tuple[dict[int, str], list[str] | None]:
    """Why files cannot be read, and the digests of the pixels if there are any."""
    if not is_own_folder(entry):
        raise ValueError("it is not a folder of its own")
    stored = _own_file(entry / _INDEX, at_most=(1 << 20) + 1024 * count).read_bytes()
    try:
        body = json.loads(stored)
        if body.pop("sha256") != json_digest(body):
            raise ValueError
        return {int(index): str(reason) for index, reason in body["bad"].items()}, body["blocks"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{_INDEX} is damaged") from error


def _read_pixels(entry: Path, shape: tuple[int, int, int, int], digests: Sequence[str]) -> Bytes:
    header = _header(shape)
    file = _own_file(entry / _PIXELS, at_most=len(header) + int(np.prod(shape)))
    with file.open("rb") as stored:
        if file.stat().st_size != len(header) + int(np.prod(shape)) or stored.read(len(header)) != header:
            raise ValueError(f"{_PIXELS} is not of the expected size")
    if not shape[0]:
        return np.empty(shape, np.uint8)
    held = hold(entry)
    try:
        mapped = np.memmap(file, np.uint8, mode="r", offset=len(header), shape=shape)
    except BaseException:
        if held is not None:
            os.close(held)
        raise
    if held is not None:
        finalize(mapped, os.close, held)  # when nothing refers to the pixels any more
    pixels = np.asarray(mapped)
    if _digests(pixels) != list(digests):
        raise ValueError(f"{_PIXELS} is damaged")
    return pixels


def _own_file(file: Path, at_most: int) -> Path:
    """The path of a regular file that is not a link and not larger than expected."""
    facts = file.lstat()
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > at_most:
        raise ValueError(f"{file.name} is not a file of the expected size")
    return file


def _header(shape: tuple[int, ...]) -> bytes:
    """How NumPy begins a file of an array of bytes with this shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _digests(pixels: Bytes) -> list[str]:
    """A digest of each block of the pixels."""
    content = pixels.reshape(-1)
    starts = range(0, len(content), BLOCK)

    def digest(start: int) -> str:
        return hashlib.sha256(content[start : start + BLOCK].data).hexdigest()

    shown = progress(f"Checking {len(pixels):,} cached images", len(starts))
    with shown if len(content) > LARGE else nullcontext(lambda amount: None) as advance:
        found = []
        for value in in_threads(digest, starts):
            found.append(value)
            advance(1)
    return found


def _exists(entry: Path) -> bool:
    """Whether there is anything, a link to nowhere included."""
    try:
        entry.lstat()
    except OSError:
        return False
    return True


def _remove(entry: Path) -> None:
    """Remove an entry that cannot be used. A link is removed, not what it points to."""
    if is_own_folder(entry):
        shutil.rmtree(entry, ignore_errors=True)  # which would wait for ever if this were a pipe
    else:
        with suppress(OSError):
            entry.unlink()
