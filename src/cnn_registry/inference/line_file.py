"""A file of results, one row per picture, written while they come, so that a stopped job can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from cnn_registry.errors import DataError, UsageError
from cnn_registry.system.files import is_own_file

from .pictures import Picture

BEGINNING = b'{"path": '
"""How each line of JSON begins."""

LONGEST = 2**24
"""Bytes of the longest line that is read."""


class LineFile:
    """A text file to which lines are added; each line is whole, whatever ends the process.

    Args:
        path: the file.
        first: its first line, or an empty string.
        resume: continue a file that is there; otherwise it is refused. A last line that was cut is removed when lines
            are added, or by `cut`; until then the file stays as it is.

    Raises:
        UsageError: it is there, another process writes it, it has another first line, or holds something else than
            lines.
        DataError: it cannot be written.
    """

    def __init__(self, path: Path, first: str = "", *, resume: bool = False) -> None:
        self.path = path
        if os.path.lexists(path) and not resume:
            raise UsageError(f"{path} already exists. Use --resume to continue it, or name another file.")
        if os.path.lexists(path) and not is_own_file(path):
            raise UsageError(f"{path} is not a regular file; name another.")
        try:
            self._file = path.open("r+b" if path.exists() else "x+b")
            if not _is_alone(self._file):
                self.close()
                raise UsageError(f"Another process writes {path}; wait for its end, or name another file.")
            self._end, rest = _last_line(self._file)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error
        self._first = first.encode()
        if fault := self._fault(rest):
            self.close()
            raise UsageError(f"{path} {fault}")
        if not self._end:
            self.write([first] if first else [])

    def _fault(self, rest: bytes | None) -> str:
        """Why the file cannot be continued, or an empty string."""
        if rest is None:
            return f"ends in a line of more than {LONGEST:,} bytes. Name another file."
        self._file.seek(0)
        if self._end and self._first and self._file.readline(len(self._first) + 1).rstrip(b"\n") != self._first:
            return "has other columns, or was begun with other options. Resume with the same, or name another file."
        if self._first:
            is_ours = bool(self._end) or self._first.startswith(rest)
        else:
            is_ours = rest.startswith(BEGINNING) or BEGINNING.startswith(rest)
        return "" if is_ours else "does not end in a line of results. Name another file."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, lines: Iterable[str]) -> None:
        """Add lines, and hand them to the system.

        Raises:
            DataError: the disk is full, for instance.
        """
        self.cut()
        try:
            self._file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
            self._file.flush()
            self._end = self._file.tell()
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def cut(self) -> None:
        """Remove a last line that was cut.

        Raises:
            DataError: that cannot be done.
        """
        try:
            if self._file.seek(0, os.SEEK_END) > self._end:
                self._file.truncate(self._end)
            self._file.seek(self._end)
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    def read(self) -> Iterator[str]:
        """The whole lines after the first one that was asked for.

        Raises:
            ValueError: a line is too long, or is not text.
        """
        with self.path.open("rb") as file:
            if self._first:
                file.readline()
            while file.tell() < self._end:
                line = file.readline(LONGEST)
                if not line.endswith(b"\n"):
                    raise ValueError(f"it has a line of more than {LONGEST:,} bytes")
                yield line[:-1].decode()


def _is_alone(file: BinaryIO) -> bool:
    """Whether nobody else holds the lock of an open file, which is held from now on until the file is closed."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows, and file systems without locks
        pass
    return True


def _last_line(file: BinaryIO) -> tuple[int, bytes | None]:
    """Where the last whole line ends, and the beginning of what follows it; ``None`` where that is too long."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        if size - end >= LONGEST:
            return end, None
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    file.seek(end)
    return end, file.read(min(size - end, 65536))


class Done:
    """Which pictures have a result already: eight bytes for each.

    Args:
        names: their names, as they were written; one that was written twice counts twice.
    """

    def __init__(self, names: Iterable[str]) -> None:
        digests = np.fromiter((_digest(name) for name in names), np.uint64)
        self._digests, self._left = np.unique(digests, return_counts=True)
        self.count = len(digests)

    def remaining(self, pictures: Iterable[Picture], written: Callable[[Path | str | None], str]) -> Iterator[Picture]:
        """The pictures that have no result yet.

        Args:
            pictures: all of them, in any order.
            written: how a name was written.
        """
        return (picture for picture in pictures if not self._take(written(picture.name)))

    def _take(self, name: str) -> bool:
        digest = _digest(name)
        place = int(np.searchsorted(self._digests, digest))
        if place == len(self._digests) or self._digests[place] != digest or not self._left[place]:
            return False
        self._left[place] -= 1
        return True


def _digest(name: str) -> np.uint64:
    return np.uint64(
        int.from_bytes(hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")
    )


def json_rows(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of JSON with their numbers; each is an object with a path, and perhaps an error."""
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is not JSON") from error
        if not isinstance(row, dict) or not isinstance(row.get("path"), str):
            raise ValueError(f"line {number} has no path")
        if not isinstance(row.get("error", ""), str):
            raise ValueError(f"line {number} has an error that is not text")
        yield number, row
