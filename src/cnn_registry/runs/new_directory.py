"""New directories that no other process uses, and their names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from cnn_registry.errors import RunError


@contextmanager
def reserved(out: Path, stem: str) -> Iterator[Path]:
    """A new directory in ``out`` that no other process uses; it is removed again if the block leaves it empty.

    Raises:
        RunError: it cannot be made.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        path = new_directory(out, stem)
    except OSError as error:
        raise RunError(f"No directory can be made in {out}: {error.strerror or error}.") from error
    try:
        yield path
    finally:
        for folder in (path, *missing):
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def stamped(*parts: str) -> str:
    """A directory's name: the local time, and what is in it."""
    return "_".join([f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *parts])


def new_directory(out: Path, stem: str) -> Path:
    """A directory that did not exist before: ``stem``, or ``stem-2`` and so on."""
    out.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = out / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def file_name(name: str) -> str:
    """``name`` with only what every file system takes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return kept.strip(".")[:64] or "data"
