"""Files and directories that are whole or absent, whatever ends the process or the machine.

They are the run's own: nothing is read, written or removed through a link that somebody put in a run.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from cnn_registry.errors import RunError

_JUNCTION = 0xA0000003
"""The tag of Windows' other kind of link to a folder, which ``lstat`` reports as a folder."""


def check_own(path: Path) -> None:
    """Refuse ``path`` unless it and all that lies below it are regular files and folders; a missing one passes.

    A link leads out of the directory, and a pipe or a device has no end. Folders above ``path`` may be links.

    Raises:
        RunError: there is anything else, or it cannot be examined.
    """
    waiting = [path]
    while waiting:
        item = waiting.pop()
        try:
            facts = item.lstat()
            if _is_link(facts):
                raise RunError(
                    f"{item} is a link; nothing is read or written through links. Replace it with what it points to."
                )
            if stat.S_ISDIR(facts.st_mode):
                waiting += item.iterdir()
            elif not stat.S_ISREG(facts.st_mode):
                raise RunError(f"{item} is neither a regular file nor a folder; remove it from the run.")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise RunError(f"{item} cannot be read: {error.strerror or error}.") from error


def is_own_folder(path: Path) -> bool:
    """Whether ``path`` is a folder, and not a link to one."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and not _is_link(facts)


def is_own_file(path: Path) -> bool:
    """Whether ``path`` is a regular file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file; a pipe or a device, which may have no end, is not opened for reading.

    Args:
        path: the file; it may be a link to one.
        limit: the most bytes that it may have.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(f"{path} is not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"{path} has more than {limit:,} bytes")
    return content


def size_of(path: Path) -> int:
    """Bytes of the files in a folder, or of a file; links are not followed, and a file of two names counts once."""
    files: dict[tuple[int, int], int] = {}
    # Unlike Path.rglob, os.walk passes over folders that are removed meanwhile.
    for item in [path, *(Path(folder, name) for folder, _, names in os.walk(path) for name in names)]:
        with suppress(OSError):
            facts = item.lstat()
            if stat.S_ISREG(facts.st_mode):
                files[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(files.values())


def _is_link(facts: os.stat_result) -> bool:
    return stat.S_ISLNK(facts.st_mode) or getattr(facts, "st_reparse_tag", 0) == _JUNCTION


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place if the block succeeds, and is removed if it does not.

    Raises:
        RunError: the file cannot be written, for instance because the disk is full, or ``path`` is a link.
    """
    check_own(path)
    temporary = _beside(path)
    try:
        temporary.unlink(missing_ok=True)  # what is there would be written through if it is a link
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {_why(error, path)}.") from error
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
    """A temporary directory beside ``path`` that takes its place if the block succeeds.

    Raises:
        RunError: it cannot be written. What was at ``path`` is still there then.
    """
    check_own(path)
    temporary, old = _unused(_beside(path)), _unused(_beside(path, "old"))
    made: list[Path] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        made.append(temporary)
        yield temporary
        for item in temporary.rglob("*"):
            flush(item)
        flush(temporary)
        if path.exists():
            path.replace(old)  # a directory cannot take the place of one that is not empty
            made.append(old)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        if old in made and not path.exists():
            with suppress(OSError):
                old.replace(path)
        raise RunError(f"{path} cannot be written: {_why(error, path)}.") from error
    finally:
        for left in made:
            shutil.rmtree(left, ignore_errors=True)


def _why(error: OSError, path: Path) -> str:
    """Why ``path`` cannot be written, in a few words."""
    if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        return f"{path.parent} is not there; if it was moved or removed meanwhile, restore it"
    return error.strerror or str(error)


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
    # The main thread's number is that of its process; other threads have their own.
    return path.with_name(f".writing-{what}{threading.get_native_id()}-{path.name}")


def _unused(path: Path) -> Path:
    """``path``, or with a number behind it where there is something: in containers, a killed process had our number."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(found for found in chain([path], numbered) if not os.path.lexists(found))
