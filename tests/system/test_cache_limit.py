"""The cache is kept below a size: what was unused for longest goes first, and what is in use stays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data.sources.entry import read_entry, write_entry
from cnn_registry.errors import UsageError
from cnn_registry.system.cache import LIMIT, cache_limit, make_room

SHAPE = (100, 100, 3)


def write(decoded: Path, name: str, age: int) -> bool:
    """An entry of a megabyte that was last used long ago."""
    written = write_entry(decoded / name, np.zeros((33, *SHAPE), np.uint8), {})
    for path in (*decoded.glob(f"{name}/*"), decoded / name):
        if path.exists():
            os.utime(path, (1_500_000_000 - age, 1_500_000_000 - age))
    return written


def test_what_was_unused_for_longest_makes_room_unless_it_is_in_use(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decoded = own_cache / "decoded"
    for age, name in enumerate(("new", "old", "oldest")):
        assert write(decoded, name, age)
    held = read_entry(decoded / "oldest", 33, SHAPE)
    assert held is not None
    for path in (*decoded.glob("oldest/*"), decoded / "oldest"):
        os.utime(path, (1_400_000_000, 1_400_000_000))
    (own_cache / "weights").mkdir()
    (own_cache / "weights" / "net").write_bytes(bytes(500_000))
    monkeypatch.setenv(LIMIT, "0.0037")
    assert write(decoded, "next", -9)
    assert {path.name for path in decoded.iterdir()} == {"new", "oldest", "next"}
    assert capsys.readouterr().err == "1 entry of the cache (1.0 MB) removed for CNNREG_CACHE_GB=0.0037.\n"
    view = held.pixels[:2]
    del held
    monkeypatch.setenv(LIMIT, "0.0026")
    assert make_room(0)
    assert {path.name for path in decoded.iterdir()} == {"oldest", "next"}
    del view
    monkeypatch.setenv(LIMIT, "0.0016")
    assert make_room(0)
    assert {path.name for path in decoded.iterdir()} == {"next"}
    capsys.readouterr()
    assert not write_entry(decoded / "large", np.zeros((66, *SHAPE), np.uint8), {})
    said = "2.0 MB of decoded images are not cached, as CNNREG_CACHE_GB=0.0016 leaves too little room.\n"
    assert capsys.readouterr().err == said
    assert {path.name for path in decoded.iterdir()} == {"next"}
    assert (own_cache / "weights" / "net").exists()


def test_what_a_killed_process_has_left_makes_room(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = own_cache / "decoded"
    for name in (".left", ".written"):
        (decoded / name / "entry").mkdir(parents=True)
        (decoded / name / "entry" / "pixels.npy").write_bytes(bytes(1_000_000))
    for path in (*decoded.glob(".left/**/*"), decoded / ".left"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    monkeypatch.setenv(LIMIT, "0.0021")
    assert write(decoded, "new", 0)
    assert {path.name for path in decoded.iterdir()} == {".written", "new"}


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_not_a_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(UsageError, match=rf"^CNNREG_CACHE_GB must be a number of gigabytes, 0 or more; got '{text}'"):
        cache_limit()


def test_without_a_limit_nothing_is_removed(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    write(own_cache / "decoded", "one", 0)
    assert make_room(10**15)
    assert (own_cache / "decoded" / "one").is_dir()
