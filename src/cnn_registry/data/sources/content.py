"""The content of an image file, and what the system says of the file.

A file that the system describes as before has the content that it had. As in Git's index, that holds only for a file
that had not been written shortly before it was read: a clock may not tell two writes apart that follow each other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, NamedTuple

from cnn_registry.data.dataset import EncodedImage
from cnn_registry.data.image import check_file
from cnn_registry.data.records import PackedImage
from cnn_registry.errors import BadImageError

WHOLE = 1 << 26
"""Bytes of a file up to which all of it is held in memory while it is hashed and decoded."""

TICK = 2_000_000_000
"""Nanoseconds within which two writes may have the same time; FAT, which counts in two seconds, is the coarsest."""

FileState = tuple[int, int, int, int]
"""A file's size, when it was last written and last changed in any way (in nanoseconds), and its inode."""

ABSENT: FileState = (0, 0, 0, 0)
"""In place of a state where there is no regular file."""


class FileContent(NamedTuple):
    """An open file.

    Attributes:
        stream: its bytes.
        state: what the system said of it before they were read.
    """

    stream: BinaryIO
    state: FileState

    def digest(self) -> bytes:
        """The SHA-256 of the bytes; the stream is at its beginning afterwards."""
        self.stream.seek(0)
        found = hashlib.file_digest(self.stream, "sha256").digest()  # type: ignore[arg-type]  # both can be read into a buffer
        self.stream.seek(0)
        return found


class _NamedBytes(BytesIO):
    name = ""


@contextmanager
def opened_file(file: Path) -> Iterator[FileContent]:
    """A file's content.

    Raises:
        BadImageError: it is not a regular file, is too large, or has changed within the block.
        OSError: it cannot be read.
    """
    check_file(file)
    with file.open("rb") as stream:
        state = state_of(os.fstat(stream.fileno()))
        if state[0] > WHOLE:
            yield FileContent(stream, state)
            if state_of(os.fstat(stream.fileno())) != state:
                raise BadImageError(str(file), "it changed while it was read")
            return
        content = _NamedBytes(stream.read(WHOLE + 1))
    content.name = str(file)
    yield FileContent(content, state)


def state_of(facts: os.stat_result) -> FileState:
    """The state of a regular file."""
    if not S_ISREG(facts.st_mode):
        return ABSENT
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino & (1 << 63) - 1


def state_at(path: str) -> FileState:
    """The state of the file at a path, which may be a link to it."""
    try:
        return state_of(os.stat(path))  # noqa: PTH116 - without a Path, of which there might be a million
    except (OSError, ValueError):
        return ABSENT


def is_settled(state: FileState, now: int) -> bool:
    """Whether another write would give a file another state than the one that it had at a time, in nanoseconds."""
    return max(state[1], state[2]) < now - TICK


def file_hash(file: EncodedImage) -> bytes:
    """The SHA-256 of a file's content; empty where it cannot be read."""
    if isinstance(file, PackedImage):
        return file.digest
    try:
        with opened_file(file) as content:
            return content.digest()
    except (OSError, BadImageError):
        return b""
