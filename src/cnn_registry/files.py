"""Files and directories that are whole or absent, whatever ends the process or the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import RunError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place if the block succeeds, and is removed if it does not.

    Raises:
        RunError: the file cannot be written, for instance because the disk is full.
    """
    temporary = _beside(path)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        RunError: as `whole_file`.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A temporary directory beside ``path`` that takes its place if the block succeeds; of files alone.

    Raises:
        RunError: it cannot be written. What was at ``path`` is still there then.
    """
    temporary, old = _beside(path), _beside(path, "old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            flush(file)
        flush(temporary)
        if path.exists():
            path.replace(old)  # a directory cannot take the place of one that is not empty
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        if old.exists() and not path.exists():
            with suppress(OSError):
                old.replace(path)
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def is_temporary(path: Path) -> bool:
    """Whether ``path`` is what a process that was killed has left of one of these."""
    return path.name.startswith(".writing-")


def flush(path: Path) -> None:
    """Have the system write a file's content, or a directory's entries, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no directory, and writes entries through
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, what: str = "") -> Path:
    return path.with_name(f".writing-{what}{os.getpid()}-{path.name}")
