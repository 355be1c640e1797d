"""Digests of files that were read before, kept in the cache for files that have not changed since.

A row is used for a file with the same path, size, inode and times. A file that was written shortly before it was read
gets no row, as its times would not show another write; see `cnn_registry.data.sources.content`.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from cnn_registry.data.dataset import Indices
from cnn_registry.errors import RunError
from cnn_registry.system.paths import hashes_dir
from cnn_registry.system.sealed import read_sealed, write_sealed

from .files import Files

FORMAT = b"cnn_registry digests 1\n"

_ROW = np.dtype([("path", "<u8"), ("state", "<i8", (4,)), ("digest", "u1", (32,))])


def recall(files: Files, source: str) -> None:
    """Take over the digests of files that have not changed since they were read.

    Args:
        files: whose states are known.
        source: where the dataset is.
    """
    if files.known.all() or not (rows := _read(source)).size:
        return
    paths = _numbers(files)
    rows = rows[np.argsort(rows["path"], kind="stable")]
    places = np.minimum(np.searchsorted(rows["path"], paths), len(rows) - 1)
    same = (rows["path"][places] == paths) & (rows["state"][places] == files.states).all(1) & files.states.any(1)
    found = np.flatnonzero(same)
    files.expect(found, rows["digest"][places[found]])


def remember(files: Files, source: str) -> None:
    """Keep the digests of files for the next start. Where they cannot be written, files are read again."""
    kept = files.settled()
    if not len(kept):
        return
    rows = np.zeros(len(kept), _ROW)
    rows["path"], rows["state"], rows["digest"] = _numbers(files)[kept], files.states[kept], files.digests[kept]
    before = _read(source)
    if len(before) == len(rows) and before.tobytes() == rows.tobytes():
        return
    place = _place(source)
    with suppress(OSError, RunError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(place, rows.tobytes())


def forget_digests(source: str) -> None:
    """Remove what is kept of a dataset."""
    with suppress(OSError):
        _place(source).unlink()


def _read(source: str) -> np.ndarray:
    content = read_sealed(_place(source))
    if not content or len(content) % _ROW.itemsize:
        return np.empty(0, _ROW)
    with suppress(OSError):
        os.utime(_place(source))  # `cnnreg cache` shows when it was last used
    return np.frombuffer(content, _ROW)


def _place(source: str) -> Path:
    return hashes_dir() / hashlib.sha256(FORMAT + os.fsencode(source)).hexdigest()[:32]


def _numbers(files: Files) -> Indices:
    """A number for each path, which two paths share with a chance of one in many millions."""
    digests = b"".join(hashlib.blake2b(os.fsencode(path), digest_size=8).digest() for path in files.paths())
    return np.frombuffer(digests, "<u8")
