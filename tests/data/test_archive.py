from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn_registry.data.archive import extract
from cnn_registry.errors import DataError


def file(name: str, content: bytes = b"content") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member, b""


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    def make(*members: tuple[tarfile.TarInfo, bytes]) -> Path:
        path = tmp_path / "made.tgz"
        with tarfile.open(path, "w:gz") as tar:
            for member, content in members:
                tar.addfile(member, io.BytesIO(content))
        return path

    return make


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_and_folders_are_extracted(archive: Callable[..., Path], tmp_path: Path) -> None:
    made = archive(special("jpg", tarfile.DIRTYPE), file("jpg/1.jpg", b"one"), file("./deep/er/2.jpg", b"two"))
    extract(made, tmp_path / "new" / "target")
    assert (tmp_path / "new" / "target" / "jpg" / "1.jpg").read_bytes() == b"one"
    assert (tmp_path / "new" / "target" / "deep" / "er" / "2.jpg").read_bytes() == b"two"
    assert left(tmp_path / "new") == ["target"]


def test_what_is_there_is_left_as_it_is(archive: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").touch()
    extract(archive(file("theirs")), target)
    assert left(target) == ["mine"]


@pytest.mark.parametrize(
    "hostile",
    [
        file("../outside"),
        file("a/../../outside"),
        file("/tmp/outside"),
        file("C:/outside"),
        file("..\\outside"),
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "jpg/1.jpg"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
    ],
    ids=lambda hostile: f"{hostile[0].name}-{hostile[0].type.decode()}",
)
def test_anything_else_is_refused_and_leaves_nothing_behind(
    archive: Callable[..., Path], tmp_path: Path, hostile: tuple[tarfile.TarInfo, bytes]
) -> None:
    made = archive(file("jpg/1.jpg"), hostile)
    with pytest.raises(DataError, match=r"made\.tgz holds '.*', which"):
        extract(made, tmp_path / "new" / "target")
    assert left(tmp_path / "new") == []
    assert not (tmp_path / "outside").exists()


def test_a_file_is_not_written_twice(archive: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be extracted .*exists"):
        extract(archive(file("1.jpg"), file("1.jpg")), tmp_path / "target")


def test_too_many_or_too_large_files_are_refused(archive: Callable[..., Path], tmp_path: Path) -> None:
    made = archive(*(file(f"{number}.jpg", bytes(100)) for number in range(10)))
    for limits in ({"max_members": 9}, {"max_bytes": 999}):
        with pytest.raises(DataError, match="holds more than"):
            extract(made, tmp_path / "target", **limits)
    extract(made, tmp_path / "target", max_members=10, max_bytes=1000)
    assert len(left(tmp_path / "target")) == 10


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_damaged_archive_is_one_clear_line(archive: Callable[..., Path], tmp_path: Path, share: float) -> None:
    made = archive(*(file(f"{number}.jpg", bytes(range(256)) * 50) for number in range(20)))
    made.write_bytes(made.read_bytes()[: int(made.stat().st_size * share)])
    with pytest.raises(DataError, match=r"made\.tgz cannot be extracted \(.+\)\.$"):
        extract(made, tmp_path / "target")
    made.write_bytes(b"<html>not an archive</html>")
    with pytest.raises(DataError, match=r"made\.tgz cannot be extracted \(.+\)\.$"):
        extract(made, tmp_path / "target")
