"""Encoded images in ArrayRecord files: each is read by its number, and checked against what was packed."""

from __future__ import annotations

import errno
import hashlib
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

from cnn_registry.system.extras import need
from cnn_registry.system.files import is_own_file

PACK = "pack"
"""The extra that installs the reader and the writer of ArrayRecord files."""


def need_array_record(what: str) -> None:
    """Refuse work that needs ArrayRecord files where their package is not installed.

    Raises:
        MissingPackageError: it is not.
    """
    need(what, "array_record", extra=PACK, distributions={"array_record": "array_record"})


class Shard:
    """One ArrayRecord file, opened when it is first read.

    Args:
        path: the file.
        count: the records that it must hold.
        size: the bytes that it must have.
    """

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.path = path
        self._count = count
        self._size = size
        self._lock = threading.Lock()
        self._reader: Any = None

    def fault(self) -> str:
        """What is wrong with the file, as far as its directory entry shows; an empty string if nothing is."""
        if not is_own_file(self.path):
            return "is missing, or is not a regular file of its own"
        size = self.path.lstat().st_size
        return "" if size == self._size else f"has {size:,} bytes, not {self._size:,}: it was cut off or replaced"

    def read(self, number: int) -> bytes:
        """A record.

        Raises:
            OSError: the file cannot be read, or is damaged.
        """
        try:
            content: bytes = self._opened().read([number])[0]
        except (RuntimeError, ValueError, IndexError) as error:
            raise _damaged(self.path) from error
        return content

    def _opened(self) -> Any:
        with self._lock:
            if self._reader is None:
                from array_record.python.array_record_module import ArrayRecordReader

                if self.fault():
                    raise _damaged(self.path)
                reader = ArrayRecordReader(str(self.path), "readahead_buffer_size:0")
                if reader.num_records() != self._count:
                    raise _damaged(self.path)
                self._reader = reader
            return self._reader


class PackedImage:
    """An encoded image in a shard, where `pathlib.Path` names one in a file.

    Args:
        image_id: its name.
        shard: where it is.
        number: its number there.
        digest: the SHA-256 of its bytes.
    """

    __slots__ = ("_number", "_shard", "digest", "image_id")

    def __init__(self, image_id: str, shard: Shard, number: int, digest: bytes) -> None:
        self.image_id = image_id
        self.digest = digest
        self._shard = shard
        self._number = number

    def __str__(self) -> str:
        return f"{self.image_id} in {self._shard.path}"

    def open(self) -> BytesIO:
        """Its bytes.

        Raises:
            OSError: they cannot be read, or are not those that were packed.
        """
        content = self._shard.read(self._number)
        if hashlib.sha256(content).digest() != self.digest:
            raise _damaged(self._shard.path)
        return BytesIO(content)


def _damaged(path: Path) -> OSError:
    # An error of the system's kind: the same digest stands for readable pixels in another copy of the file.
    return OSError(errno.EIO, "damaged: it is not what was packed", str(path))
