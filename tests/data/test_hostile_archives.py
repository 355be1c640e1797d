"""Archives that are made to harm: refused in one line, with nothing written but below the target, and little memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_registry.data import archive
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


def attributed(attributes: dict[str, str], *blocks: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """Extended attributes just as they are given, then the blocks that they are about."""
    body = b""
    for name, value in attributes.items():
        record = f" {name}={value}\n".encode()
        length = len(record) + len(str(len(record)))
        body += str(len(record) + len(str(length))).encode() + record
    return header("attributes", len(body), kind) + padded(body) + b"".join(blocks) + bytes(2 * BLOCK)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def plain(name: str = "plain.jpg", content: bytes = b"content") -> bytes:
    """A file as it lies in an archive."""
    return header(name, len(content), tarfile.REGTYPE) + padded(content)


def endless_map(kind: str) -> bytes:
    """A sparse file whose map fills memory: 64 MiB of it, and it says that more follows."""
    if kind == "blocks":
        first = bytearray(header("sparse", 0, tarfile.GNUTYPE_SPARSE))
        first[482] = 1
        first[148:156] = b" " * 8
        first[148:156] = f"{sum(first):06o}\0 ".encode()
        block = b"00000000001\0" * 42 + b"\1" + bytes(7)
        return gzip.compress(bytes(first) + block * (64 * 2**20 // BLOCK), 1)
    attributes = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "7"}
    lines = b"9" * 20 + b"\n" + b"7\n" * (32 * 2**20)
    return gzip.compress(attributed(attributes, header("a", len(lines), tarfile.REGTYPE), padded(lines)), 1)


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
    "attributes of a sparse file that are not numbers": pax(**{"GNU.sparse.major": "1", "GNU.sparse.size": "x"}),
    "a size below zero": header("a", -BLOCK, tarfile.REGTYPE) + bytes(2 * BLOCK),
    "a long name of a size below zero": header("a", -BLOCK, tarfile.GNUTYPE_LONGNAME) + bytes(2 * BLOCK),
    "petabytes": header("a", 2**50, tarfile.REGTYPE) + bytes(2 * BLOCK),
    "a long name of petabytes": header("a", 2**50, tarfile.GNUTYPE_LONGNAME) + bytes(2 * BLOCK),
    "a negative size in the extended attributes": attributed({"size": "-512"}, plain()),
    "a negative size there, of many digits": attributed({"size": f"-{2**80}"}, plain()),
    "a negative size there of a folder": attributed({"size": "-512"}, header("d", 0, tarfile.DIRTYPE), plain()),
    "a negative size for all": attributed({"size": "-512"}, plain(), kind=tarfile.XGLTYPE),
    "a size for all": attributed({"size": "7"}, plain(), plain("b"), kind=tarfile.XGLTYPE),
    "a negative size of a sparse file": attributed({"GNU.sparse.realsize": "-512"}, plain()),
    "the same by an older name": attributed({"GNU.sparse.size": "-512"}, plain()),
    "a sparse file without a map": attributed({"GNU.sparse.realsize": "1024"}, plain(), plain("b"), plain("c")),
    "a sparse file with a map": attributed({"GNU.sparse.map": "0,7", "GNU.sparse.size": f"{2**40}"}, plain()),
    "a size that is not a number": attributed({"size": "x"}, plain()),
    "a size that is nearly one": attributed({"size": "+7"}, plain()),
    "a size in other digits": attributed({"size": "\u0667"}, plain()),
    "a size of too many digits to be read": attributed({"size": "9" * 5000}, plain()),
    "petabytes in the extended attributes": attributed({"size": f"{2**50}"}, plain()),
    "more bytes there than any file": attributed({"size": f"{2**80}"}, plain()),
    "petabytes there of a folder": attributed({"size": f"{2**50}"}, header("d", 0, tarfile.DIRTYPE)),
    "more there than the archive holds": attributed({"size": f"{2**20}"}, plain()),
    "an endless map in blocks": endless_map("blocks"),
    "an endless map in lines": endless_map("lines"),
    "attributes upon attributes": gzip.compress(
        b"".join(attributed({f"a{n}": "x" * 2**19}, kind=tarfile.XGLTYPE)[: -2 * BLOCK] for n in range(64)) + plain(), 1
    ),
    "a path of many kilobytes": attributed({"path": "d/" * 20 + "n" * 8000}, plain()),
    "folders of names as long as can be": attributed({"path": ("n" * 250 + "/") * 30 + "x"}, plain()),
    "a zero in a path": attributed({"path": "a\0b"}, plain()),
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
    """The one line with which an archive with that content is refused; it leaves nothing behind."""
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


def test_a_bomb_is_recognised_by_its_headers_before_it_is_unpacked(refused: Callable[[bytes], str]) -> None:
    assert "holds more than" in refused(gzip.compress(header("a", 9 * GIB, tarfile.REGTYPE) + bytes(2**20)))


def test_a_damaged_header_is_not_the_end(refused: Callable[[bytes], str]) -> None:
    whole = bytearray(tar(member("1.jpg"), member("2.jpg"), member("3.jpg")))
    assert "bad checksum" in refused(bytes(whole[: 2 * BLOCK]) + b"x" + bytes(whole[2 * BLOCK + 1 :]))
    assert "truncated header" in refused(bytes(whole[: 2 * BLOCK + 100]))


def test_attributes_that_fit_are_accepted(tmp_path: Path) -> None:
    content = bytes(range(256)) * 3
    fitting = attributed({"comment": "of all"}, kind=tarfile.XGLTYPE)[: -2 * BLOCK] + attributed(
        {"size": "0768", "path": "jpg/1.jpg"}, header("short", 0, tarfile.REGTYPE), padded(content), plain("2.jpg")
    )
    (tmp_path / "fitting.tar").write_bytes(fitting)
    extract(tmp_path / "fitting.tar", tmp_path / "target", max_bytes=768 + 7, max_members=3)
    assert (tmp_path / "target" / "jpg" / "1.jpg").read_bytes() == content
    assert (tmp_path / "target" / "2.jpg").read_bytes() == b"content"


def test_the_limit_holds_while_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One megabyte each, of which a small archive holds thousands: no more than the limit ever lies on the disk."""
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(b"".join(plain(f"{n}", bytes(2**20)) for n in range(64)), 9))
    written = 0
    copy = archive._copy

    def counted(content: IO[bytes], file: IO[bytes], *rest: Any) -> None:
        nonlocal written
        copy(content, file, *rest)
        written += file.tell()

    monkeypatch.setattr(archive, "_copy", counted)
    with pytest.raises(DataError, match=r"holds more than .* 10,000,000 bytes\.$"):
        extract(tmp_path / "bomb.tgz", tmp_path / "target", max_bytes=10_000_000)
    assert written == 9 * 2**20
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.tgz"]


def test_a_pipe_and_a_file_with_a_hole_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    with (tmp_path / "hole.tar").open("wb") as file:
        file.truncate(2**40)  # zeros, which the reader of xz takes for empty streams
    for name, words in (("pipe.tar", "not a regular file"), ("hole.tar", "more than the .* that it may have")):
        with pytest.raises(DataError, match=words):
            extract(tmp_path / name, tmp_path / "target")


def test_a_negative_size_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be read to the end of the archive, and the limit would grow by it."""
    bomb = attributed({"size": f"-{2**30}"}, plain("bomb", bytes(2**24)))
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(bomb, 9))
    monkeypatch.setattr(archive, "_copy", lambda *_: pytest.fail("something is written"))
    with pytest.raises(DataError, match=r"holds 'bomb' with a size of '-1073741824', which cannot be its own\.$"):
        extract(tmp_path / "bomb.tgz", tmp_path / "target", max_bytes=10_000_000)


@pytest.mark.parametrize(
    "members",
    [
        [member(f"{number}", b"") for number in range(11)],
        [member("d", b"", tarfile.DIRTYPE)] * 11,
        [member(f"{number}/x", b"") for number in range(6)],
        [member("a/b/c/d/e/f/g/h/i/j/x", b"")],
        [member("a/b/c/d/e/f/g/h/i/j/k", b"", tarfile.DIRTYPE)],
    ],
    ids=["empty files", "one folder again and again", "a folder for each", "folders of a file", "folders of a folder"],
)
def test_empty_members_and_the_folders_that_they_need_are_counted(tmp_path: Path, members: list[Member]) -> None:
    (tmp_path / "many.tar").write_bytes(tar(*members))
    with pytest.raises(DataError, match=r"holds more than 10 files"):
        extract(tmp_path / "many.tar", tmp_path / "target", max_members=10)
    assert [path.name for path in tmp_path.iterdir()] == ["many.tar"]
    extract(tmp_path / "many.tar", tmp_path / "target", max_members=12)


@given(
    edits=st.lists(st.tuples(st.integers(0, 2**14), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 2**14),
)
def test_a_damaged_archive_is_extracted_below_its_target_or_refused(
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
