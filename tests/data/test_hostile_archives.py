"""Archives that are made to harm: refused in one line, with nothing written but below the target, and little memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_registry.data.archive import extract
from cnn_registry.errors import DataError

Member = tuple[tarfile.TarInfo, bytes]

BLOCK = 512
GIB = 2**30


def member(name: str, content: bytes = b"content", kind: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, len(content)
    return made, content


def tar(*members: Member, format: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as made:
        for header, content in members:
            made.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def header(name: str, size: int, kind: bytes) -> bytes:
    """A header alone, whose size may be any; more than its eleven octal digits as the bytes of a number."""
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, 0
    block = bytearray(made.tobuf(tarfile.GNU_FORMAT)[:BLOCK])
    first = b"\xff" if size < 0 else b"\x80"
    block[124:136] = first + size.to_bytes(11, "big", signed=size < 0)
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def sparse() -> bytes:
    """A file of a tebibyte of which nothing is there."""
    block = bytearray(header("sparse", 0, tarfile.GNUTYPE_SPARSE))
    block[483:495] = b"\x80" + (2**40).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block) + bytes(2 * BLOCK)


def pax(**attributes: str) -> bytes:
    made, content = member("plain.jpg")
    made.pax_headers = attributes
    return tar((made, content), format=tarfile.PAX_FORMAT)


ZOO: dict[str, bytes] = {
    "link, and a file through it": tar(member("link", b"", tarfile.SYMTYPE, "../../.."), member("link/outside")),
    "hard link, and a file through it": tar(member("link", b"", tarfile.LNKTYPE, "/etc/passwd"), member("link")),
    "a link that the extended attributes make": pax(linkpath="/etc/passwd", path="../outside"),
    "a path that the extended attributes make": pax(path="../outside"),
    "an absolute path that they make": pax(path="/tmp/outside"),
    "a device of blocks": tar(member("disk", b"", tarfile.BLKTYPE)),
    "a type that nobody knows": tar(member("odd", b"", b"Z")),
    "a file where a folder is": tar(member("a/b"), member("a")),
    "a folder where a file is": tar(member("a"), member("a/b")),
    "the folder itself as a file": tar(member(".")),
    "a name with an escape sequence": tar(member("\x1b[2J/../../outside")),
    "a name of 300 letters": tar(member("n" * 300)),
    "folders in folders": tar(member("d/" * 400 + "x")),
    "a sparse tebibyte": sparse(),
    "attributes of a sparse file that are no numbers": pax(**{"GNU.sparse.major": "1", "GNU.sparse.size": "x"}),
    "a size below zero": header("a", -BLOCK, tarfile.REGTYPE) + bytes(2 * BLOCK),
    "a long name of a size below zero": header("a", -BLOCK, tarfile.GNUTYPE_LONGNAME) + bytes(2 * BLOCK),
    "petabytes": header("a", 2**50, tarfile.REGTYPE) + bytes(2 * BLOCK),
    "a long name of petabytes": header("a", 2**50, tarfile.GNUTYPE_LONGNAME) + bytes(2 * BLOCK),
    "headers about headers": (header("a", 0, tarfile.XHDTYPE)) * 3000 + tar(member("x")),
    "an empty archive's end, then nothing": b"\0" * 100,
    "a zip": b"",  # made below
}


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr("../outside", "content")
    return stream.getvalue()


ZOO["a zip"] = zipped()


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Callable[[bytes], str]]:
    """The one line with which an archive of that content is refused; nothing is left behind, and memory is spared."""
    archive, target = tmp_path / "in" / "hostile.tar", tmp_path / "in" / "new" / "target"
    archive.parent.mkdir()

    def refuse(content: bytes) -> str:
        archive.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(DataError) as caught:
            extract(archive, target)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 32 * 2**20
        assert str(caught.value).isprintable()
        return str(caught.value)

    yield refuse
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "in",
        "in/hostile.tar",
        "in/new",
    ]
    assert not Path("/tmp/outside").exists()


@pytest.mark.parametrize("name", ZOO)
def test_an_archive_of_the_zoo_is_refused(refused: Callable[[bytes], str], name: str) -> None:
    assert "hostile.tar " in refused(ZOO[name])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_archive_is_refused_alike(
    refused: Callable[[bytes], str], compress: Callable[[bytes], bytes]
) -> None:
    assert "which would lie outside" in refused(compress(tar(member("../outside"))))
    whole = compress(tar(*(member(f"{number}.jpg", bytes(range(256)) * 50) for number in range(9))))
    assert "cannot be extracted" in refused(whole[: len(whole) // 2])


def test_what_is_compressed_well_is_not_kept_in_memory(refused: Callable[[bytes], str]) -> None:
    long_name = header("a", 64 * 2**20, tarfile.GNUTYPE_LONGNAME) + bytes(64 * 2**20)
    assert "a header of 67,108,864 bytes" in refused(gzip.compress(long_name, 1))


def test_a_bomb_is_told_by_what_it_says_before_it_is_unpacked(refused: Callable[[bytes], str]) -> None:
    assert "holds more than" in refused(gzip.compress(header("a", 9 * GIB, tarfile.REGTYPE) + bytes(2**20)))


@given(
    edits=st.lists(st.tuples(st.integers(0, 2**14), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 2**14),
)
def test_a_damaged_archive_is_extracted_below_its_target_or_told(
    tmp_path: Path, edits: list[tuple[int, int]], end: int
) -> None:
    folder = tmp_path / str(hash((tuple(edits), end)))
    folder.mkdir(exist_ok=True)
    content = bytearray(tar(member("jpg", b"", tarfile.DIRTYPE), member("jpg/1.jpg"), member("n" * 120)))
    for place, byte in edits:
        content[place % len(content)] = byte
    (folder / "damaged.tar").write_bytes(content[: end % len(content)] if end % 2 else content)
    try:
        extract(folder / "damaged.tar", folder / "target")
        message = ""
    except DataError as error:
        message = str(error)
    assert message.isprintable()
    assert {path.name for path in folder.iterdir()} <= {"damaged.tar", "target"}
    assert not any(path.is_symlink() for path in folder.rglob("*"))
