"""What is in the cache, and how it is removed."""

from __future__ import annotations

import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .files import is_own_folder, size_of
from .paths import datasets_dir, decoded_dir, plugins_dir, weights_dir


@dataclass(frozen=True)
class CacheEntry:
    """A folder or a file of the cache.

    Attributes:
        kind: ``"dataset"``, ``"decoded"``, ``"weights"`` or ``"plugins"``.
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
    kinds = {"dataset": datasets_dir(), "decoded": decoded_dir(), "weights": weights_dir(), "plugins": plugins_dir()}
    found = []
    for kind, folder in kinds.items():
        with suppress(OSError):  # there is none yet
            found += [CacheEntry(kind, path, size_of(path), _used(path)) for path in folder.iterdir()]
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


def _used(path: Path) -> datetime:
    latest = path.lstat().st_mtime  # set when decoded images are read
    for file in path.rglob("*"):
        with suppress(OSError):
            facts = file.lstat()
            if stat.S_ISREG(facts.st_mode):
                latest = max(latest, facts.st_atime)
    return datetime.fromtimestamp(latest).astimezone()
