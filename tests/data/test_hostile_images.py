"""Images and folders of images as the world has them: each is decoded right, or reported in one line."""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn_registry.data.folder import load_folder
from cnn_registry.data.formats import pillow_names
from cnn_registry.data.image import decode
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import BadImageError, DataError

Folder = Callable[..., Path]
Picture = Callable[..., Image.Image]

FORMATS = pillow_names()

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8))


def stored(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


WHOLE = [stored(NOISE, format) for format in FORMATS]

EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8)


def reason(file: Path) -> str:
    """Why a file cannot be read, as the one line says it."""
    with pytest.raises(BadImageError) as caught:
        decode(file, 8)
    assert str(caught.value).isprintable()
    return caught.value.reason


@given(whole=st.sampled_from(WHOLE), edits=EDITS, end=st.integers(0, 2**16))
def test_any_damage_gives_pixels_or_one_line(
    tmp_path: Path, whole: bytes, edits: list[tuple[int, int]], end: int
) -> None:
    content = bytearray(whole)
    for place, byte in edits:
        content[place % len(content)] = byte
    file = tmp_path / "damaged.jpg"
    file.write_bytes(content[: len(content) - end % len(content)] if end % 2 else content)
    try:
        pixels, message = decode(file, 8), ""
    except BadImageError as error:
        pixels, message = np.zeros((8, 8, 3), np.uint8), str(error)
    assert pixels.shape == (8, 8, 3)
    assert message.isprintable()


@pytest.mark.parametrize("format", FORMATS)
def test_the_content_counts_and_not_the_extension(picture: Picture, tmp_path: Path, format: str) -> None:
    for suffix in ("jpg", "png", "webp", "gif"):
        (tmp_path / f"right.{format}").write_bytes(stored(picture(), format))
        (tmp_path / f"wrong.{suffix}").write_bytes(stored(picture(), format))
        np.testing.assert_array_equal(decode(tmp_path / f"wrong.{suffix}", 8), decode(tmp_path / f"right.{format}", 8))


@pytest.mark.parametrize("shape", [(1, 1), (50_000, 2), (2, 50_000)])
def test_extreme_shapes_are_resized(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.new("RGB", shape, (200, 100, 50)).save(tmp_path / "odd.png")
    np.testing.assert_array_equal(decode(tmp_path / "odd.png", 8), np.broadcast_to([200, 100, 50], (8, 8, 3)))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, content: bytes) -> bytes:
    """A picture of one bit a pixel, whatever its content."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


PLAIN_PNG, PLAIN_GIF, PLAIN_JPEG = (stored(Image.new("L", (8, 8)), format) for format in ("PNG", "GIF", "JPEG"))
PROGRESSIVE = stored(Image.new("L", (400, 400), 128), "JPEG", progressive=True)
IMAGE_DATA, FRAME, SCAN = PLAIN_PNG.index(b"IDAT") - 4, PLAIN_GIF.index(b"\x2c"), PLAIN_JPEG.index(b"\xff\xda")


def in_png(*extra: bytes) -> bytes:
    return PLAIN_PNG[:IMAGE_DATA] + b"".join(extra) + PLAIN_PNG[IMAGE_DATA:]


def in_gif(extra: bytes) -> bytes:
    return PLAIN_GIF[:FRAME] + extra + PLAIN_GIF[FRAME:]


def in_jpeg(extra: bytes) -> bytes:
    return PLAIN_JPEG[:2] + extra + PLAIN_JPEG[2:]


def scans(number: int, image: bytes = PROGRESSIVE) -> bytes:
    """A progressive JPEG that ends in more scans: copies of its last one."""
    return image[:-2] + image[image.rindex(b"\xff\xda") : -2] * number + image[-2:]


def tiff(*tags: tuple[int, int, int, int], big: bool = False, repeat: int = 1, after: bytes = b"") -> bytes:
    """A TIFF with these tags: number, type, count and value."""
    number, entry, first = ("<Q", "<HHQQ", 16) if big else ("<H", "<HHII", 8)
    start = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    assert len(start) == first
    body = b"".join(struct.pack(entry, *tag) for tag in tags) * repeat
    return start + struct.pack(number, len(tags) * repeat) + body + bytes(8) + after


def strips(number: int) -> bytes:
    """A TIFF of one column and that many rows, each a strip of its own."""
    tags = [(256, 4, 1, 1), (257, 4, 1, number), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (278, 4, 1, 1)]
    places = 8 + 2 + 12 * (len(tags) + 2) + 8
    tags += [(273, 4, number, places), (279, 4, number, places + 4 * number)]
    return tiff(*tags, after=struct.pack("<I", places) * number + struct.pack("<I", 1) * number)


def bmp(width: int, height: int, content: bytes) -> bytes:
    """A BMP of 8 bits, run-length encoded."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(content), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + bytes(1024) + content


SLOW: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans": (lambda: scans(200), "more than 100 scans"),
    "scans of a large image": (
        lambda: scans(60, stored(Image.new("L", (10_500, 8500)), "JPEG", progressive=True)),
        "scans",
    ),
    "segments": (lambda: in_jpeg(b"\xff\xe5\0\2" * 3000), "more than 2,048 segments"),
    "comments": (lambda: in_jpeg(b"\xff\xfe\0\2" * 3000), "segments"),
    "EXIF in parts": (lambda: in_jpeg((b"\xff\xe1\0\x0aExif\0\0II") * 100), "segments"),
    "segments after the first scan": (lambda: PLAIN_JPEG[:-2] + b"\xff\xfe\0\2" * 3000 + PLAIN_JPEG[-2:], "segments"),
    "fill": (lambda: in_jpeg(b"\xff" * 5_000_000), "more than 4,096 bytes between two segments"),
    "chunks": (lambda: in_png(chunk(b"prIv", b"") * 5000), "more than 4,096 chunks"),
    "chunks after the image": (lambda: PLAIN_PNG[:-12] + chunk(b"prIv", b"") * 5000 + PLAIN_PNG[-12:], "chunks"),
    "profiles": (lambda: in_png(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**6))) * 5000), "chunks"),
    "texts": (
        lambda: in_png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6))) * 200),
        "Too much memory used in text",
    ),
    "a text": (lambda: in_png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "Decompressed data too large"),
    "a profile": (
        lambda: in_png(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))),
        "Decompressed data too large",
    ),
    "empty image chunks": (lambda: in_png(chunk(b"IDAT", b"") * 300_000), "chunks"),
    "extensions": (lambda: in_gif(b"!\xfe\0" * 200_000), "more than 131,072 blocks before the first frame"),
    "a comment in pieces": (lambda: in_gif(b"!\xfe" + b"\1x" * 200_000 + b"\0"), "blocks"),
    "strips": (lambda: strips(300_000), "more than 262,144 strips or tiles"),
    "tags": (lambda: tiff((40_000, 3, 1, 8), repeat=5000), "more than 4,096 tags"),
    "tags of a big TIFF": (lambda: tiff((40_000, 16, 1, 8), repeat=5000, big=True), "more than 4,096 tags"),
    "tags over and over": (
        lambda: tiff((40_000, 7, 10**6, 100), repeat=4000, after=bytes(10**6)),
        "larger than the file",
    ),
    "tags of EXIF": (lambda: tiff((34665, 4, 1, 30), after=struct.pack("<H", 60_000) + bytes(700_000)), "tags"),
    "run lengths": (lambda: bmp(3000, 3000, b"\1\5" * 9_000_000), "run-length encoded"),
    "ends of lines": (lambda: bmp(9000, 9000, b"\1\5\0\0" * 9000), "run-length encoded"),
    "jumps": (lambda: bmp(89_000_000, 1, b"\0\2\xff\xff" * 10), "run-length encoded"),
}


@pytest.mark.parametrize("name", SLOW)
def test_files_of_very_many_parts_are_refused_at_once(tmp_path: Path, name: str) -> None:
    content, expected = SLOW[name]
    (tmp_path / "slow.png").write_bytes(content())
    began = time.thread_time()
    assert expected in reason(tmp_path / "slow.png")
    assert time.thread_time() - began < 3  # those with a text are decoded up to Pillow's own limit


@pytest.mark.parametrize(
    "content",
    [
        scans(10),
        scans(90),
        in_jpeg(b"\xff\xe2\xff\xff" * 1 + bytes(65533)),
        in_jpeg(b"".join(b"\xff\xe2\x40\0" + bytes(0x3FFE) for _ in range(100))),
        PLAIN_JPEG + b"\xff\xda" * 500,
        PLAIN_JPEG + scans(200),
        in_png(*(chunk(b"tEXt", b"Comment\0text") for _ in range(1000))),
        in_gif(b"!\xfe" + b"\xff" + bytes(255) + b"\0"),
        strips(20_000),
        bmp(8, 8, b"\x08\5\0\0" * 8 + b"\0\1"),
    ],
    ids=[
        "scans",
        "many scans of a small image",
        "a large segment",
        "a profile in segments",
        "what looks like scans after the image",
        "another image after the first",
        "texts",
        "a comment",
        "strips",
        "run lengths",
    ],
)
def test_ordinary_files_of_some_parts_are_decoded(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ordinary.png").write_bytes(content)
    assert decode(tmp_path / "ordinary.png", 8).shape == (8, 8, 3)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", *(["AVIF"] if "AVIF" in FORMATS else [])])
def test_of_many_frames_only_the_first_is_decoded(tmp_path: Path, format: str) -> None:
    frames = [Image.new("RGB", (200, 200), (number, 100, 100)) for number in range(60)]
    frames[0].save(tmp_path / "animation", format, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still", format)
    times = {}
    for name in ("still", "animation"):
        began = time.thread_time()
        np.testing.assert_allclose(decode(tmp_path / name, 8)[..., 0], 0, atol=6)
        times[name] = time.thread_time() - began
    assert times["animation"] < times["still"] + 1


@pytest.mark.parametrize("shape", [(2**18 + 1, 1), (1, 2**18 + 1)])
def test_a_very_long_edge_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    (tmp_path / "long.png").write_bytes(png(*shape, content=zlib.compress(bytes(2**20))))
    assert reason(tmp_path / "long.png") == "an edge of more than 262,144 pixels"


@pytest.mark.parametrize("edge", [13_000, 100_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_it_takes_memory(tmp_path: Path, edge: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png(edge, edge, content=zlib.compress(bytes(10**6))))
    tracemalloc.start()
    assert "decompression bomb" in reason(tmp_path / "bomb.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_gif_frame_larger_than_stated_does_not_evade_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    content = bytearray(stored(Image.new("L", (8, 8)), "GIF"))
    frame = content.index(b"\x2c")
    content[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    (tmp_path / "bomb.gif").write_bytes(content)
    assert reason(tmp_path / "bomb.gif")


def test_what_never_ends_is_not_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder("a/1.png", "b/1.png")
    (root / "a" / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe")
    (root / "a" / "pipe.png").symlink_to(root / "pipe")
    with (root / "b" / "sparse.png").open("wb") as file:
        file.truncate(2**40)
    loaded = load_images(load_folder(root), 8)
    assert {bad.id: bad.reason for bad in loaded.bad} == {
        "a/zero.png": "not a regular file",
        "a/pipe.png": "not a regular file",
        "b/sparse.png": "more than 1,073,741,824 bytes",
    }


def test_links_in_a_circle_are_images_that_cannot_be_read(folder: Folder) -> None:
    root = folder("a/1.png", "b/1.png")
    (root / "a" / "me.png").symlink_to("me.png")
    (root / "a" / "ping.png").symlink_to("pong.png")
    (root / "a" / "pong.png").symlink_to("ping.png")
    (root / "c").symlink_to("c")
    loaded = load_images(load_folder(root), 8)
    assert {bad.id for bad in loaded.bad} == {"a/me.png", "a/ping.png", "a/pong.png"}
    assert {bad.reason for bad in loaded.bad} == {"too many levels of symbolic links"}
    with pytest.raises(DataError, match="There is no folder"):
        load_folder(root / "c")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_reported(folder: Folder) -> None:
    root = folder("a/1.png", "a/2.png", "b/1.png", "c/1.png")
    (root / "a" / "2.png").chmod(0)
    loaded = load_images(load_folder(root), 8)
    assert [(bad.id, bad.reason) for bad in loaded.bad] == [("a/2.png", "permission denied")]
    (root / "c").chmod(0)
    with pytest.raises(DataError, match=r"/c cannot be read: Permission denied\.$"):
        load_folder(root)
    (root / "c").chmod(0o700)


def test_folders_that_nest_too_deeply_are_reported(folder: Folder) -> None:
    place = root = folder("a/1.png", "b/1.png")
    for name in ["a", *["d"] * 300]:
        place = place / name
        place.mkdir(exist_ok=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        with pytest.raises(DataError, match="nest too deeply"):
            load_folder(root)
    finally:
        sys.setrecursionlimit(limit)
    assert load_folder(root).ids == ("a/1.png", "b/1.png")


NAMES = ["a\nb", "\x1b[31mred", "日本", "[red]x", "$\\alpha$", "-rf", "'; rm", "\u202egnp", "\udcff", " ", "e\u0301"]


def test_odd_names_are_kept_and_shown_safely(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("plain/1.png")
    picture = (root / "plain" / "1.png").read_bytes()
    for name in NAMES:
        (root / name).mkdir()
        (root / name / f"{name}.png").write_bytes(picture)
        (root / name / f"{name}.jpg").write_bytes(b"damaged")
    (root / "\x1b[2J").mkdir()
    loaded = load_images(load_folder(root), 8)
    names = {name.replace("\udcff", "\\udcff") for name in NAMES}
    assert set(loaded.dataset.class_names) == {normalize("NFC", name) for name in names} | {"plain"}
    assert {bad.id for bad in loaded.bad} == {f"{name}/{name}.jpg" for name in names}
    empty, *alike, decoding, bad = capsys.readouterr().err.splitlines()
    assert "".join([empty, *alike, decoding, bad]).isprintable()
    assert all("look alike" in line for line in alike)
    assert bad.startswith(f"{len(NAMES)} of {2 * len(NAMES) + 1} images cannot be read and are left out")
    assert empty.endswith(r"left out: '\x1b[2J'.")


def test_classes_that_differ_in_case_are_kept_apart_and_noted(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder("Cat/1.png", "cat/1.png", "cat/2.png", "dog/1.png")
    dataset = load_folder(root)
    assert dataset.class_names == ("Cat", "cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 1, 2]
    assert capsys.readouterr().err == f"Classes in {root} whose names look alike are kept apart: 'Cat', 'cat'.\n"


@pytest.mark.parametrize("twice", ["Train", "VAL", "Test"])
def test_no_part_of_a_split_is_lost_to_another_that_differs_in_case(folder: Folder, twice: str) -> None:
    paths = [f"{part}/{name}/1.png" for part in ("train", "val", "test", twice) for name in "ab"]
    with pytest.raises(DataError, match=f"has two folders '{twice}', '{twice.lower()}'. Rename one"):
        load_folder(folder(*paths))


def test_a_hundred_thousand_files_in_a_class_are_listed_in_seconds(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with_few_links = [tmp_path / "b" / f"{number}.png" for number in range(4)]  # file systems limit links to a file
    for file in with_few_links:
        file.touch()
    for number in range(100_000):
        os.link(with_few_links[number % 4], f"{tmp_path}/a/{number}.png")
    began = time.perf_counter()
    dataset = load_folder(tmp_path)
    assert time.perf_counter() - began < 30  # 4 s on two busy cores
    assert len(dataset) == 100_004
    assert dataset.ids[99_999] == "a/99999.png"
