"""What is in the cache, how it is removed, and how it is kept below a size.

A process holds a lock on each folder of decoded images that it uses. Folders without a lock are dropped, the longest
unused first, where something new would make the cache larger than ``CNNREG_CACHE_GB``. Downloads are only counted.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cnn_registry.errors import UsageError
from cnn_registry.text import counted

from .files import is_own_folder, size_of
from .paths import datasets_dir, decoded_dir, hashes_dir, hub_dir, plugins_dir, weights_dir
from .progress import note

LIMIT = "CNNREG_CACHE_GB"
"""The environment variable with the largest size of the cache in gigabytes (10^9 bytes)."""

DROPPED = ("decoded", "hashes")
"""Kinds of entries that make room for others."""

LEFT = timedelta(hours=1)
"""Time without a change after which a hidden folder is what a killed process has left, not what is being written."""


@dataclass(frozen=True)
class CacheEntry:
    """A folder or a file of the cache.

    Attributes:
        kind: ``"dataset"``, ``"decoded"``, ``"hashes"``, ``"weights"``, ``"hub"`` or ``"plugins"``.
        path: where it is.
        bytes: its size.
        used: when it was last used, as far as the file system knows, in local time.
    """

    kind: str
    path: Path
    bytes: int
    used: datetime

    @property
    def name(self) -> str:
        """The kind's folder and its own name."""
        return f"{self.path.parent.name}/{self.path.name}"


def cache_entries() -> list[CacheEntry]:
    """What is in the cache, the longest unused first."""
    kinds = {
        "dataset": datasets_dir(),
        "decoded": decoded_dir(),
        "hashes": hashes_dir(),
        "weights": weights_dir(),
        "hub": hub_dir(),
        "plugins": plugins_dir(),
    }
    found: list[CacheEntry] = []
    for kind, folder in kinds.items():
        with suppress(OSError):  # there is none yet
            for path in folder.iterdir():
                with suppress(OSError):  # it was removed meanwhile
                    found.append(CacheEntry(kind, path, size_of(path), _used(path)))
    return sorted(found, key=lambda entry: entry.used)


def remove_entry(entry: CacheEntry) -> None:
    """Remove an entry; of a link, not what it points to.

    Raises:
        OSError: it cannot be removed.
    """
    if is_own_folder(entry.path):
        shutil.rmtree(entry.path)
    else:
        entry.path.unlink()


def cache_limit() -> int | None:
    """The largest size of the cache in bytes; ``None`` if it has no limit.

    Raises:
        UsageError: the variable is not a number of gigabytes.
    """
    text = os.environ.get(LIMIT)
    if not text:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise UsageError(f"{LIMIT} must be a number of gigabytes, 0 or more; got {text!r}.")
    return int(limit * 1e9)


def make_room(needed: int) -> bool:
    """Drop entries, the longest unused first, until ``needed`` more bytes do not exceed the limit of the cache.

    What killed processes have left half written is dropped as well.

    Returns:
        Whether they fit now.

    Raises:
        UsageError: as `cache_limit`.
    """
    limit = cache_limit()
    if limit is None:
        return True
    entries = cache_entries() if needed <= limit else []
    total, removed = sum(entry.bytes for entry in entries), []
    for entry in entries:
        if total + needed <= limit:
            break
        if entry.kind in DROPPED and not _is_being_written(entry) and _drop(entry.path):
            total -= entry.bytes
            removed.append(entry)
    limited = f"{LIMIT}={os.environ[LIMIT]}"
    if removed:
        size = sum(entry.bytes for entry in removed)
        note(f"{counted(len(removed), 'entry')} of the cache ({_in_words(size)}) removed for {limited}.")
    if total + needed > limit:
        note(f"{_in_words(needed)} of decoded images are not cached, as {limited} leaves too little room.")
    return total + needed <= limit


def _is_being_written(entry: CacheEntry) -> bool:
    return entry.path.name.startswith(".") and datetime.now().astimezone() - entry.used < LEFT


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def hold(folder: Path) -> int | None:
    """A descriptor, open while it is not closed, that keeps a folder from being dropped; ``None`` where there is none.

    Raises:
        OSError: there is no such folder, or it is being removed.
    """
    try:
        import fcntl
    except ImportError:  # Windows moves no folder of which a file is open
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks
        pass
    return descriptor


def _drop(path: Path) -> bool:
    """Remove a file, or a folder that no process holds, and say whether that was done."""
    try:
        if not is_own_folder(path):
            path.unlink()
            return True
        with _alone(path):
            doomed = path.rename(path.with_name(f".{path.name}-{os.getpid()}"))
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no process holds a folder.

    Raises:
        OSError: one does.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _used(path: Path) -> datetime:
    latest = path.lstat().st_mtime  # set when decoded images are read
    for file in path.rglob("*"):
        with suppress(OSError):
            facts = file.lstat()
            if stat.S_ISREG(facts.st_mode):
                latest = max(latest, facts.st_atime)
    return datetime.fromtimestamp(latest).astimezone()
