"""The lock of a run directory: whoever trains there holds it, and the system takes it from a process that has died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnn_registry.errors import RunError
from cnn_registry.system.files import is_own_file

NAME = ".lock"

PATIENCE = 0.3
"""Seconds to wait for a lock, since whoever looks whether there is one holds it for a moment."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Within the block no other process trains in the run directory.

    Raises:
        RunError: one does, or the lock cannot be written, or is a second name of another file.
    """
    from filelock import FileLock, Timeout

    path = directory / NAME
    _refuse_second_name(path)
    lock = FileLock(path, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"Another process is training in {directory}; wait for its end, or stop it.") from None
    except OSError as error:
        raise RunError(f"{directory} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(directory: Path) -> bool:
    """Whether a process, this one or another, trains in the run directory. Nothing is written.

    Raises:
        OSError: that cannot be found out.
    """
    path = directory / NAME
    if not is_own_file(path):
        return False
    if os.name == "nt":
        from filelock import FileLock, Timeout

        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _refuse_second_name(path: Path) -> None:
    """Refuse a lock that is another file's second name: filelock 3 empties the file when it takes the lock."""
    if path.exists() and path.stat().st_nlink > 1 and path.stat().st_size:
        raise RunError(f"{path} is a second name of a file that is not empty; remove it.")
