"""Extract an archive that someone else has made."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Self

from ..errors import DataError, one_line

MAX_MEMBERS = 100_000
MAX_BYTES = 8 * 2**30
MAX_DEPTH = 32
"""Folders of an archive in one another."""
MAX_HEADER = 2**20
"""Bytes of a long name or of extended attributes, which are read into memory before a member is seen."""


def extract(archive: Path, target: Path, *, max_members: int = MAX_MEMBERS, max_bytes: int = MAX_BYTES) -> None:
    """Extract a tar archive, compressed or not, into a new folder.

    Only regular files and folders are accepted, under plain relative names; owners, modes and times are not taken
    over. ``target`` appears when everything is extracted. Where it exists already it is left as it is.

    Args:
        archive: the archive.
        target: the folder to make.
        max_members: how many files and folders it may hold.
        max_bytes: how large they may be together.

    Raises:
        DataError: the archive cannot be read, or holds what is not accepted; nothing is left behind.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
        made = Path(temporary) / target.name
        made.mkdir()
        try:
            with tarfile.open(archive, tarinfo=_Header) as members:
                _extract_members(members, archive, made.resolve(), max_members, max_bytes)
        except DataError:
            raise
        except Exception as error:  # readers and decompressors raise anything on a damaged archive
            raise DataError(f"{archive} cannot be extracted ({one_line(error)}).") from error
        try:
            made.rename(target)
        except OSError:
            if not target.exists():  # another process may have been faster
                raise


class _Header(tarfile.TarInfo):
    """A header that does not make the reader take much memory, or go backwards."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        about_another = header.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if header.size < 0 or (about_another and header.size > MAX_HEADER):
            raise tarfile.TarError(f"a header of {header.size:,} bytes")
        return header


def _extract_members(members: tarfile.TarFile, archive: Path, root: Path, max_members: int, max_bytes: int) -> None:
    size = 0
    for count, member in enumerate(members, start=1):
        size += member.size
        if count > max_members or size > max_bytes:
            raise DataError(f"{archive} holds more than {max_members:,} files or {max_bytes:,} bytes.")
        path = (root / _plain_path(member, archive)).resolve()
        if not path.is_relative_to(root):  # some systems take other names for ".." than this one does
            raise _outside(member, archive)
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        content = members.extractfile(member)
        assert content is not None
        with content, path.open("xb") as file:
            shutil.copyfileobj(content, file)


def _plain_path(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    """The member's path, which stays below any folder it is joined to, on any system."""
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise DataError(f"{archive} holds {member.name!r}, which is neither a regular file nor a folder.")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or PureWindowsPath(member.name).drive:
        raise _outside(member, archive)
    if len(path.parts) > MAX_DEPTH:
        raise DataError(f"{archive} holds {member.name[:64]!r}..., which lies in more than {MAX_DEPTH} folders.")
    return path


def _outside(member: tarfile.TarInfo, archive: Path) -> DataError:
    return DataError(f"{archive} holds {member.name!r}, which would lie outside the folder it is extracted to.")
