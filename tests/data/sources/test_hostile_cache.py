"""Entries of the cache that are damaged or planted: found before they are used, and made again."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.folder import load_folder
from cnn_registry.data.sources import entry as entries
from cnn_registry.data.sources.entry import read_entry, write_entry
from cnn_registry.data.sources.load import load_images

PATHS = [f"{name}/{number}.png" for name in ("a", "b") for number in range(6)]
FILES = ["images.npy", "index.json"]


@pytest.fixture
def dataset(folder: Callable[..., Path]) -> ImageDataset:
    return load_folder(folder(*PATHS))


@pytest.fixture
def entry(dataset: ImageDataset, cache_folder: Path) -> Path:
    """The folder in the cache with the decoded images."""
    pixels(dataset)
    [entry] = (cache_folder / "decoded").iterdir()
    return entry


def pixels(dataset: ImageDataset) -> np.ndarray:
    source = load_images(dataset, 8).source
    return source.read(np.arange(len(source)))


def check_made_again(dataset: ImageDataset, entry: Path, expected: np.ndarray, said: str) -> None:
    """The pixels are right, the entry is as it was before the damage, and a line has been printed."""
    assert f"The decoded images in {entry} cannot be used and are decoded again: " in said
    assert said.endswith("Decoding 12 images\n")
    assert entry.is_dir()
    assert not entry.is_symlink()
    np.testing.assert_array_equal(np.load(entry / "images.npy"), expected)
    assert sorted(file.name for file in entry.iterdir()) == FILES


def inverted(content: bytes) -> bytes:
    return bytes(byte ^ 255 for byte in content)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
    "garbage": lambda content: b"\0[1]",
    "inverted": inverted,
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "zeros": lambda content: bytes(len(content)),
    "the end inverted": lambda content: content[:100] + inverted(content[100:]),
    "nested": lambda content: b"[" * 100_000,
    "a list": lambda content: b"[1, 2]",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_the_entry_is_made_again(
    dataset: ImageDataset, entry: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = pixels(dataset).copy()
    capsys.readouterr()
    (entry / name).write_bytes(DAMAGE[damage]((entry / name).read_bytes()))
    np.testing.assert_array_equal(pixels(dataset), expected)
    check_made_again(dataset, entry, expected, capsys.readouterr().err)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["missing", "link", "dangling", "pipe", "device", "folder", "sparse"])
def test_a_link_a_pipe_or_another_file_in_the_entry_is_not_read(
    dataset: ImageDataset, entry: Path, tmp_path: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = pixels(dataset).copy()
    capsys.readouterr()
    file, elsewhere = entry / name, tmp_path / "elsewhere"
    elsewhere.write_bytes(file.read_bytes())
    file.unlink()
    if kind == "link":
        file.symlink_to(elsewhere)
    elif kind == "dangling":
        file.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
        (file / "inside").touch()
    elif kind == "sparse":
        with file.open("wb") as sparse:
            sparse.truncate(2**40)
    before = elsewhere.read_bytes()
    np.testing.assert_array_equal(pixels(dataset), expected)
    check_made_again(dataset, entry, expected, capsys.readouterr().err)
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize("kind", ["link", "dangling", "file", "pipe"])
def test_what_is_in_place_of_the_entry_is_replaced_and_what_it_points_to_stays(
    dataset: ImageDataset, entry: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = pixels(dataset).copy()
    capsys.readouterr()
    mine = tmp_path / "mine"
    entry.rename(mine)
    (mine / "thesis.txt").write_text("years of work")
    if kind == "file":
        entry.touch()
    elif kind == "pipe":
        os.mkfifo(entry)
    else:
        entry.symlink_to(mine if kind == "link" else "nowhere")
    np.testing.assert_array_equal(pixels(dataset), expected)
    check_made_again(dataset, entry, expected, capsys.readouterr().err)
    assert sorted(file.name for file in mine.iterdir()) == [*FILES, "thesis.txt"]


HEADERS: list[dict[str, Any]] = [
    {"descr": "|u1", "fortran_order": False, "shape": (10**9, 8)},
    {"descr": "|u1", "fortran_order": False, "shape": (12, 8, 8, -3)},
    {"descr": "|u1", "fortran_order": True, "shape": (12, 8, 8, 3)},
    {"descr": "|O", "fortran_order": False, "shape": (12, 8, 8, 3)},
    {"descr": "<f8", "fortran_order": False, "shape": (12, 8, 8, 3)},
    {"descr": "|u1", "fortran_order": False, "shape": (3, 8, 8, 12)},
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: f"{header['descr']} {header['shape']}")
def test_another_header_takes_no_memory(dataset: ImageDataset, entry: Path, header: dict[str, Any]) -> None:
    expected = pixels(dataset).copy()
    size = (entry / "images.npy").stat().st_size
    with (entry / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(size - file.tell()))
    tracemalloc.start()
    assert read_entry(entry, 12, (8, 8, 3)) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    np.testing.assert_array_equal(pixels(dataset), expected)


def test_which_files_are_bad_is_protected_like_the_pixels(
    folder: Callable[..., Path], cache_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(*PATHS)
    (root / "a" / "3.png").write_bytes(b"damaged")
    dataset = load_folder(root)
    expected = pixels(dataset).copy()
    [entry] = (cache_folder / "decoded").iterdir()
    content = (entry / "index.json").read_text()
    (entry / "index.json").write_text(content.replace('"3"', '"7"'))
    np.testing.assert_array_equal(pixels(dataset), expected)
    assert "index.json is damaged" in capsys.readouterr().err


@given(place=st.integers(0, 2**20), bit=st.integers(0, 7), name=st.sampled_from(FILES))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_flipped_bit_is_found(tmp_path: Path, place: int, bit: int, name: str) -> None:
    entry = tmp_path / "entry"
    stored = np.arange(2 * 5 * 5 * 3, dtype=np.uint8).reshape(2, 5, 5, 3)
    if not entry.exists():
        assert write_entry(entry, stored, {1: "truncated"})
    content = bytearray((entry / name).read_bytes())
    content[place % len(content)] ^= 1 << bit
    (entry / name).write_bytes(content)
    found = read_entry(entry, 3, (5, 5, 3))
    # A flipped bit in the digest's own spaces or quotes is found as well, or leaves the same meaning.
    assert found is None or (name == "index.json" and found.reasons == {1: "truncated"})


def test_an_entry_of_an_earlier_version_without_pixels_is_made_again(
    dataset: ImageDataset, entry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = pixels(dataset).copy()
    (entry / "images.npy").unlink()
    body: dict[str, Any] = {"bad": {}, "blocks": None}
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (entry / "index.json").write_text(json.dumps({"sha256": seal, **body}))
    capsys.readouterr()
    np.testing.assert_array_equal(pixels(dataset), expected)
    assert capsys.readouterr().err == "Decoding 12 images\n"
    np.testing.assert_array_equal(np.load(entry / "images.npy"), expected)


def test_each_block_has_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "BLOCK", 100)
    stored = np.random.default_rng(0).integers(0, 256, (7, 5, 5, 3), np.uint8)
    assert write_entry(tmp_path / "entry", stored, {})
    digests = json.loads((tmp_path / "entry" / "index.json").read_text())["blocks"]
    content = stored.tobytes()
    assert digests == [hashlib.sha256(content[at : at + 100]).hexdigest() for at in range(0, 525, 100)]
    found = read_entry(tmp_path / "entry", 7, (5, 5, 3))
    assert found is not None
    np.testing.assert_array_equal(found.pixels, stored)


def test_an_entry_that_is_there_stays(tmp_path: Path) -> None:
    one = np.zeros((1, 2, 2, 3), np.uint8)
    assert write_entry(tmp_path / "entry", one, {})
    assert write_entry(tmp_path / "entry", one + 1, {})
    found = read_entry(tmp_path / "entry", 1, (2, 2, 3))
    assert found is not None
    np.testing.assert_array_equal(found.pixels, one)
