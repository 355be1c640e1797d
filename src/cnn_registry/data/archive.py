"""Extract an archive that somebody else has made."""

from __future__ import annotations

import tarfile
import tempfile
from contextlib import suppress
from itertools import takewhile
from pathlib import Path, PurePosixPath, PureWindowsPath
from stat import S_ISREG
from typing import IO, Any, Self

from cnn_registry.errors import DataError
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.text import one_line, quoted

MAX_MEMBERS = 100_000
MAX_BYTES = 8 * 2**30
MAX_DEPTH = 32
"""How deeply the folders of an archive may be nested."""
MAX_HEADER = 2**20
"""Bytes of long names and extended attributes before a member, which are read into memory."""
CHUNK = 2**20
"""Bytes that are copied at a time."""


@checked_arguments
def extract(
    archive: str | Path, target: str | Path, *, max_members: int = MAX_MEMBERS, max_bytes: int = MAX_BYTES
) -> None:
    """Extract a tar archive, compressed or not, into a new folder.

    Only regular files and folders with plain relative names are accepted; owners, modes and times are ignored.
    ``target`` appears when everything is extracted. If it already exists, it stays as it is.

    Args:
        archive: the archive.
        target: the folder to make.
        max_members: how many files and folders it may hold, including folders that only paths name.
        max_bytes: how large they may be together, both as stated and as written.

    Raises:
        DataError: the archive cannot be read, or holds something that is not accepted; nothing is left behind.
    """
    archive, target = Path(archive), Path(target)
    if target.exists():
        return
    _check_file(archive, max_bytes + 4 * tarfile.BLOCKSIZE * max_members)
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


def _check_file(archive: Path, limit: int) -> None:
    """Refuse what has no end, and a file larger than all that may be in it: mostly a hole, which takes long to read.

    Raises:
        DataError: it is one of these. What cannot be examined is reported when it is opened.
    """
    with suppress(OSError):
        facts = archive.stat()
        if not S_ISREG(facts.st_mode):
            raise DataError(f"{archive} is not a regular file; expected a tar archive.")
        if facts.st_size > limit:
            raise DataError(f"{archive} has {facts.st_size:,} bytes, more than the {limit:,} that it may have.")


class _Header(tarfile.TarInfo):
    """A header that makes the reader neither use much memory nor go backwards.

    Extended attributes override a header's size later, so `_checked_size` checks it again.
    """

    @classmethod
    def fromtarfile(cls, reader: tarfile.TarFile) -> Self:
        # Until the member's last header has been read, the reader's offset is where its first one begins.
        if reader.fileobj is not None and reader.fileobj.tell() - reader.offset > MAX_HEADER:
            raise tarfile.TarError(f"more than {MAX_HEADER:,} bytes of headers before one member")
        return super().fromtarfile(reader)

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # the reader would take it for the end of the archive, which is a block of zeros
                raise tarfile.ReadError(str(error)) from error
            raise
        about_another = header.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if header.size < 0 or (about_another and header.size > MAX_HEADER):
            raise tarfile.TarError(f"a header of {header.size:,} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.TarError("a sparse file")  # its map is as long as its blocks say
        return header

    def _proc_gnusparse_10(self, *_: Any) -> None:
        # Its map is in the content. The reader has no public method to override before the map is read.
        raise tarfile.TarError("a sparse file")


def _extract_members(members: tarfile.TarFile, archive: Path, root: Path, max_members: int, max_bytes: int) -> None:
    too_much = DataError(f"{archive} holds more than {max_members:,} files or {max_bytes:,} bytes.")
    count = size = 0
    while (member := members.next()) is not None:
        count += 1
        size += _checked_size(member, members, archive)
        if count > max_members or size > max_bytes:
            raise too_much
        path = (root / _plain_path(member, archive)).resolve()
        if not path.is_relative_to(root):  # some systems accept other names for ".."
            raise _outside(member, archive)
        folder = path if member.isdir() else path.parent
        count += len(list(takewhile(lambda parent: not parent.exists(), folder.parents)))
        count += not member.isdir() and not folder.exists()
        if count > max_members:
            raise too_much
        folder.mkdir(parents=True, exist_ok=True)
        if not member.isdir():
            content = members.extractfile(member)
            assert content is not None
            with content, path.open("xb") as file:
                _copy(content, file, member, archive)
        # The reader would keep each member, and attributes for all later ones; neither is used.
        members.members = []  # type: ignore[attr-defined]  # typeshed lacks it
        members.pax_headers = {}


def _checked_size(member: tarfile.TarInfo, members: tarfile.TarFile, archive: Path) -> int:
    """The size of a member in bytes, as its header and its extended attributes both state it.

    Raises:
        DataError: it is negative or not an integer, or belongs to a sparse file or to all members, so that it is not
            the size of what is stored.
    """
    attributes = member.pax_headers
    if member.issparse() or any(name.startswith("GNU.sparse.") for name in attributes):
        raise DataError(
            f"{archive} holds {quoted(member.name)}, which is neither a regular file nor a folder: it is sparse."
        )
    digits = attributes.get("size", str(member.size))
    if member.size < 0 or "size" in members.pax_headers or digits.lstrip("0") != str(member.size).lstrip("0"):
        raise DataError(
            f"{archive} holds {quoted(member.name)} with a size of {quoted(digits)}, which cannot be its own."
        )
    return member.size


def _copy(content: IO[bytes], file: IO[bytes], member: tarfile.TarInfo, archive: Path) -> None:
    """Write a member's content.

    Raises:
        DataError: it is longer or shorter than the member states; no more than that is written.
    """
    written = 0
    while chunk := content.read(min(CHUNK, member.size - written + 1)):
        written += len(chunk)
        if written > member.size:
            break
        file.write(chunk)
    if written != member.size:
        raise DataError(
            f"{archive} holds {quoted(member.name)} with more or less content than the {member.size:,} bytes that it "
            f"states."
        )


def _plain_path(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    """The member's path. Joined to a folder, it stays in that folder, on any system."""
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{archive} holds {quoted(member.name)}, which is neither a regular file nor a folder.")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or PureWindowsPath(member.name).drive:
        raise _outside(member, archive)
    if len(path.parts) > MAX_DEPTH:
        raise DataError(f"{archive} holds {quoted(member.name)}, which is nested in more than {MAX_DEPTH} folders.")
    return path


def _outside(member: tarfile.TarInfo, archive: Path) -> DataError:
    return DataError(f"{archive} holds {quoted(member.name)}, which would lie outside the folder it is extracted to.")
