"""Extract an archive that someone else has made."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import DataError, one_line

MAX_MEMBERS = 100_000
MAX_BYTES = 8 * 2**30


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
            with tarfile.open(archive) as members:
                _extract_members(members, archive, made, max_members, max_bytes)
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise DataError(f"{archive} cannot be extracted ({one_line(error)}).") from error
        try:
            made.rename(target)
        except OSError:
            if not target.exists():  # another process may have been faster
                raise


def _extract_members(members: tarfile.TarFile, archive: Path, root: Path, max_members: int, max_bytes: int) -> None:
    size = 0
    for count, member in enumerate(members, start=1):
        size += member.size
        if count > max_members or size > max_bytes:
            raise DataError(f"{archive} holds more than {max_members:,} files or {max_bytes:,} bytes.")
        path = root / _plain_path(member, archive)
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
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{archive} holds {member.name!r}, which is neither a regular file nor a folder.")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or PureWindowsPath(member.name).drive:
        raise DataError(f"{archive} holds {member.name!r}, which would lie outside the folder it is extracted to.")
    return path
