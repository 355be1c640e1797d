"""What a command's SOURCE arguments name: files, folders, patterns, lists, addresses, and standard input."""

from __future__ import annotations

import glob
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from cnn_registry.data import formats
from cnn_registry.data.walk import Walk
from cnn_registry.errors import BadImageError, DataError, UsageError
from cnn_registry.system.progress import note
from cnn_registry.text import natural_key, quoted

from .pictures import Picture

SORTED_UP_TO = 100_000
"""A folder with more files than this is read in the order of its file system, so that it takes no memory."""

MAX_STDIN = 2**28
"""The largest image in bytes that is read from standard input."""

MAX_LINE = 2**16
"""Bytes of the longest line of a list."""

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_IMAGE = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|.{0,63}\0", re.DOTALL)
"""How an image begins, and no list of paths."""


class Peekable(Protocol):
    """A buffered stream of bytes, such as ``sys.stdin.buffer``."""

    def peek(self, size: int = 0, /) -> bytes:
        """The next bytes, which stay."""
        ...

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...

    def readline(self, size: int = -1, /) -> bytes:
        """The next bytes to the end of the line, at most ``size``."""
        ...


def find_pictures(sources: Sequence[str], stdin: Peekable, *, must_exist: bool = False) -> Iterator[Picture]:
    """The pictures that sources name, in their order, one by one.

    What can be known beforehand is checked beforehand.

    Args:
        sources: files; folders, for the pictures in them at any depth; patterns such as ``"**/*.jpg"``; ``@FILE`` for a
            list of files, folders and addresses, one per line; http and https addresses; and ``-`` for such a list, or
            the bytes of one image, on ``stdin``.
        stdin: standard input.
        must_exist: refuse files that are missing; otherwise they are pictures that cannot be read.

    Raises:
        DataError: a folder or a list cannot be read, a folder is empty, a list is an image, or a pattern matches
            nothing.
        BadImageError: a file is missing and ``must_exist``.
        UsageError: standard input is named twice.
    """
    if sources.count("-") > 1:
        raise UsageError("Standard input can be read once; name - once.")
    return _chained([_opened(source, stdin, must_exist) for source in sources])


def _chained(parts: Sequence[Iterator[Picture]]) -> Iterator[Picture]:
    for part in parts:
        yield from part


def _opened(source: str, stdin: Peekable, must_exist: bool) -> Iterator[Picture]:
    """The pictures of one source, after what can be checked at once."""
    if source == "-":
        return _of_stdin(stdin)
    if source.startswith("@"):
        return _of_list(Path(source[1:]))
    if not os.path.lexists(source) and not _ADDRESS.match(source) and glob.has_magic(source):
        return _of_pattern(source)
    return _of_line(source, must_exist)


def _of_line(line: str, must_exist: bool = False) -> Iterator[Picture]:
    """The pictures of a file, a folder or an address."""
    if _ADDRESS.match(line):
        return iter([Picture(line, line)])
    path = Path(line)
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path's, false for a name that is too long
        _refuse_empty(path)
        return _of_folder(path)
    if must_exist and not os.path.isfile(path):  # noqa: PTH113 - as above
        raise BadImageError(line, "no such file")
    return iter([Picture(path, path)])


def _refuse_empty(folder: Path) -> None:
    try:
        if next(Walk(folder, SORTED_UP_TO).images(folder), None) is None:
            raise DataError(f"{folder} holds no pictures; expected {formats.listed()} files.")
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error


def _of_folder(folder: Path) -> Iterator[Picture]:
    walk = Walk(folder, SORTED_UP_TO)
    try:
        for file in walk.images(folder):
            yield Picture(file, file)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error
    for line in walk.summary():
        note(line)


def _of_pattern(pattern: str) -> Iterator[Picture]:
    # Path.glob takes no absolute patterns.
    found = sorted(glob.iglob(pattern, recursive=True), key=natural_key)  # noqa: PTH207
    if not found:
        raise DataError(f"No file matches {quoted(pattern)}.")
    within = {Path(path) for path in found if Path(path).is_dir()}  # whose pictures a pattern with ** names as well
    every = [path for path in found if not (Path(path) in within and "**" in pattern)]
    return _of_lines(every)


def _of_list(file: Path) -> Iterator[Picture]:
    try:
        stream = file.open("rb")
    except OSError as error:
        named = f"@{file}"
        hint = f" An image of the name {quoted(named)} is written ./{named}." if Path(named).is_file() else ""
        raise DataError(f"The list {file} cannot be read: {error.strerror or error}.{hint}") from error
    if _IMAGE.match(stream.peek(64)[:64]):
        stream.close()
        raise DataError(f"{file} is not a list of paths, one per line. Name an image without @.")
    return _of_open_list(stream)


def _of_open_list(stream: BinaryIO) -> Iterator[Picture]:
    with stream:
        yield from _of_lines(_lines(stream))


def _of_stdin(stdin: Peekable) -> Iterator[Picture]:
    start = stdin.peek(64)[:64]
    if not start:
        raise DataError("Standard input is empty; expected paths, one per line, or the bytes of one image.")
    if not _IMAGE.match(start):
        return _of_lines(_lines(stdin))
    content = stdin.read(MAX_STDIN + 1)
    if len(content) > MAX_STDIN:
        raise DataError(f"The image on standard input has more than {MAX_STDIN:,} bytes.")
    return iter([Picture("-", content)])


def _lines(stream: Peekable | BinaryIO) -> Iterator[str]:
    """The lines that are not empty.

    Raises:
        DataError: one is longer than any path or address.
    """
    mark = BOM_UTF8  # which editors on Windows put before the first line
    while line := stream.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise DataError(
                f"A list has a line of more than {MAX_LINE:,} bytes; expected a path or an address per line."
            )
        line, mark = line.removeprefix(mark), b""
        if (text := os.fsdecode(line.rstrip(b"\r\n"))).strip():
            yield text


def _of_lines(lines: Iterable[str]) -> Iterator[Picture]:
    for line in lines:
        yield from _of_line(line)
