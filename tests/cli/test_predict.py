"""``cnnreg predict``: what it prints for pictures, folders and files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Cnnreg


def test_a_file_that_cannot_be_read_is_counted_and_the_others_are_shown(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    ended = cnnreg("predict", trained, tmp_path / "cut.jpg", colours / "red", "--top", 1)
    assert ended.code == 0
    assert ended.out.count("red") >= 20
    assert f"cannot be read: {tmp_path / 'cut.jpg'}: " in ended.err
    assert "1 of 21 images cannot be read." in ended.err
    listed = json.loads(cnnreg("predict", trained, tmp_path / "cut.jpg", colours / "red" / "0.png", "--json").out)
    assert [bool(row["classes"]) for row in listed] == [False, True]
    assert listed[0]["error"]


def test_nothing_that_can_be_read_is_a_failure(cnnreg: Cnnreg, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"")
    assert cnnreg("predict", trained, tmp_path / "cut.jpg").code == 1
    ended = cnnreg("predict", trained, tmp_path / "cut.jpg", "--on-bad-image", "error")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
