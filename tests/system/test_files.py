from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cnn_registry.errors import RunError
from cnn_registry.system.files import (
    check_own,
    is_own_file,
    is_own_folder,
    is_temporary,
    size_of,
    whole_directory,
    whole_file,
    write_file,
)


def test_a_directory_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with whole_directory(tmp_path / "there") as temporary:
            (temporary / "file").write_text(text)
            assert is_temporary(temporary)
        assert (tmp_path / "there" / "file").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("whole", [whole_file, whole_directory])
def test_what_fails_leaves_nothing_and_what_was_there(tmp_path: Path, whole: type) -> None:
    with whole_directory(tmp_path / "there") as temporary:
        (temporary / "file").write_text("as it was")
    with (
        pytest.raises(RunError, match=r"there cannot be written: No space left on device\.$"),
        whole(tmp_path / "there"),
    ):
        raise OSError(28, "No space left on device")
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "there"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there" / "file").read_text() == "as it was"


def test_files_and_folders_are_a_runs_own_and_a_link_above_them_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").touch()
    (tmp_path / "link").symlink_to("real")
    check_own(tmp_path / "real")
    check_own(tmp_path / "link" / "deep")
    check_own(tmp_path / "missing")
    assert is_own_folder(tmp_path / "real")
    assert not any(is_own_folder(tmp_path / name) for name in ("link", "missing", "real/deep/file"))
    (tmp_path / "again").symlink_to("real/deep/file")
    assert is_own_file(tmp_path / "link" / "deep" / "file")
    assert not any(is_own_file(tmp_path / name) for name in ("again", "real", "missing"))
    with pytest.raises(RunError, match=r"link is a link; .*\.$"):
        check_own(tmp_path / "link")


def test_a_link_or_a_pipe_at_any_depth_is_found(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("run", *"abcdefgh")
    deep.mkdir(parents=True)
    (deep / "link").symlink_to("nowhere")
    with pytest.raises(RunError, match=r"g/h/link is a link"):
        check_own(tmp_path / "run")
    (deep / "link").unlink()
    os.mkfifo(deep / "pipe")
    with pytest.raises(RunError, match=r"g/h/pipe is neither a regular file nor a folder"):
        check_own(tmp_path / "run")


@pytest.mark.parametrize("whole", [whole_file, whole_directory])
def test_a_link_is_neither_followed_nor_replaced(tmp_path: Path, whole: type) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    link = tmp_path / "there"
    for target in ("mine", "mine/thesis.txt", "nowhere"):
        link.symlink_to(target)
        with pytest.raises(RunError, match=r"there is a link"), whole(link):
            raise AssertionError("nothing is to be written")
        assert str(link.readlink()) == target
        link.unlink()
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_link_in_place_of_the_temporary_file_is_not_written_through(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    (tmp_path / f".writing-{os.getpid()}-a.txt").symlink_to(thesis)
    write_file(tmp_path / "a.txt", "ours")
    assert ((tmp_path / "a.txt").read_text(), thesis.read_text()) == ("ours", "years of work")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "thesis.txt"]


@pytest.mark.parametrize("kind", ["", "old"])
def test_a_folder_in_place_of_the_temporary_one_stays(tmp_path: Path, kind: str) -> None:
    planted = tmp_path / f".writing-{kind}{os.getpid()}-there"
    planted.mkdir()
    (planted / "thesis.txt").write_text("years of work")
    (tmp_path / "there").mkdir()
    with whole_directory(tmp_path / "there") as temporary:
        (temporary / "file").touch()
        assert is_temporary(temporary)
    assert (tmp_path / "there" / "file").exists()
    assert (planted / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([planted.name, "there"])


def test_folders_that_are_removed_meanwhile_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("step-1", "step-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("12345")
    plain = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        found = plain(path, **options)
        if str(path).endswith("state.json"):
            monkeypatch.setattr(os, "stat", plain)
            shutil.rmtree(tmp_path / ("step-1" if "step-2" in str(path) else "step-2"))
        return found

    monkeypatch.setattr(os, "stat", stat)
    assert size_of(tmp_path) == 5
    assert len(list(tmp_path.iterdir())) == 1


def test_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    def write(text: str) -> None:
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_text(text)
            together.wait()

    together = threading.Barrier(2, timeout=10)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("one", "other")))
    assert (tmp_path / "a.txt").read_text() in ("one", "other")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
