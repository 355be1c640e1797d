"""``cnnreg runs`` and ``cnnreg cache``: what is listed, and what is removed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from cnn_registry.runs.run import Run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg


@pytest.fixture
def runs(trained: Path) -> Path:
    """A directory with a finished run, a damaged one, a cross-validation of which one fold is missing, and a note."""
    folder = trained.parent / "my runs"
    for name in ("first", "damaged", "folds/one"):
        shutil.copytree(trained, folder / name)
    (folder / "damaged" / "run.json").write_text("{}")
    fold = Run.open(folder / "folds" / "one")
    split = fold.record.split.model_copy(update={"name": "fold-1-of-2"})
    Run(fold.path, fold.record.model_copy(update={"split": split})).save()
    (folder / "notes").mkdir()
    (folder / "notes" / "thesis.txt").write_text("mine")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_runs_are_listed_with_what_came_of_them(cnnreg: Cnnreg, runs: Path) -> None:
    ended = cnnreg("runs", runs)
    heading, *rows, total = ended.out.splitlines()
    assert ended.code == 0
    assert heading.split() == ["run", "model", "data", "accuracy", "began", "size", "status"]
    status = {row.split()[0]: row for row in rows}
    assert status.keys() == {"first", "damaged", "folds"}
    assert status["first"].split()[1:3] == ["tiny", "colours"]
    assert status["first"].endswith("MB  finished")
    assert status["damaged"].endswith("MB  damaged")
    assert status["folds"].endswith("MB  1 of 2 folds")
    assert total.startswith(f"3 runs in {runs}, ")
    listed = {Path(row["run"]).name: row for row in json.loads(cnnreg("runs", runs, "--json").out)}
    best = Run.open(runs / "first").record.result["best"]["val_accuracy"]
    assert [listed[name]["accuracy"] for name in ("first", "damaged", "folds")] == [best, None, best]
    assert listed["first"]["bytes"] > 1000


def test_where_there_are_none(cnnreg: Cnnreg, tmp_path: Path) -> None:
    assert cnnreg("runs", tmp_path).out == f"0 runs in {tmp_path}, 0.0 MB\n"
    assert cnnreg("runs", tmp_path / "nowhere").code == 1


def test_what_is_named_is_shown_and_removed_once_it_is_confirmed(cnnreg: Cnnreg, runs: Path) -> None:
    asked = cnnreg("runs", runs, "--prune", "f*")
    assert asked.code == 2
    assert {row.split()[0] for row in asked.out.splitlines()[1:]} == {"first", "folds"}
    assert "Nothing was removed. To remove 2 runs, " in asked.err
    assert names(runs) == {"first", "damaged", "folds", "notes"}
    done = cnnreg("runs", runs, "--prune", "f*", "--prune", "damaged", "--yes")
    assert (done.code, done.err) == (0, "")
    assert names(runs) == {"notes"}


@pytest.mark.parametrize("name", ["frist", "notes", "..", "../run", "/"])
def test_what_is_not_a_run_there_is_not_removed(cnnreg: Cnnreg, runs: Path, name: str) -> None:
    ended = cnnreg("runs", runs, "--prune", name, "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert "Nothing was removed." in ended.err
    assert (runs / "notes" / "thesis.txt").read_text() == "mine"


def test_a_run_in_training_is_not_removed(cnnreg: Cnnreg, runs: Path) -> None:
    for place, name in ((runs / "first", "first"), (runs / "folds" / "one", "folds")):
        with FileLock(place / ".lock"):
            ended = cnnreg("runs", runs, "--prune", name, "--yes")
        assert ended.code == 1
        assert "Another process is training" in ended.err
        assert (place / "run.json").is_file()


def test_a_link_in_a_run_is_removed_and_not_what_it_points_to(cnnreg: Cnnreg, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("mine")
    (runs / "first" / "checkpoints").symlink_to(tmp_path / "thesis")
    (runs / "link").symlink_to(tmp_path / "thesis")
    assert cnnreg("runs", runs, "--prune", "*", "--yes").code == 0
    assert names(runs) == {"notes", "link"}
    assert (tmp_path / "thesis" / "text").read_text() == "mine"


@pytest.fixture
def cache(own_cache: Path) -> Path:
    """A cache with one entry of each kind, two of them unused for years."""
    for folder in ("datasets/flowers", "decoded/0123abcd"):
        (own_cache / folder).mkdir(parents=True)
        (own_cache / folder / "content").write_bytes(bytes(2_000_000))
        for path in (own_cache / folder / "content", own_cache / folder):
            os.utime(path, (1_000_000_000, 1_000_000_000))
    (own_cache / "weights").mkdir()
    (own_cache / "weights" / "net.pth").write_bytes(bytes(1_000_000))
    return own_cache


def test_the_cache_is_listed_with_the_last_use(cnnreg: Cnnreg, cache: Path) -> None:
    heading, *rows, total = cnnreg("cache").out.splitlines()
    assert heading.split() == ["entry", "what", "size", "last", "use"]
    assert {row.split()[0] for row in rows[:2]} == {"datasets/flowers", "decoded/0123abcd"}
    assert all("2.0 MB  2001-09-09" in row for row in rows[:2])
    assert rows[2].startswith("weights/net.pth ")
    assert total == f"3 entries in {cache}, 5.0 MB"
    assert {row["bytes"] for row in json.loads(cnnreg("cache", "--json").out)} == {2_000_000, 1_000_000}


def test_entries_of_the_cache_are_removed(cnnreg: Cnnreg, cache: Path) -> None:
    assert cnnreg("cache", "--prune", "decoded/*").code == 2
    assert cnnreg("cache", "--prune", "decoded/*", "--prune", "weights/net.pth", "--yes").code == 0
    assert sorted(path.name for path in cache.glob("*/*")) == ["flowers"]
    assert cnnreg("cache", "--prune", "decoded/*", "--yes").code == 2
    assert cnnreg("cache").out.splitlines()[-1] == f"1 entry in {cache}, 2.0 MB"


def test_an_empty_cache(cnnreg: Cnnreg, own_cache: Path) -> None:
    assert cnnreg("cache").out == f"0 entries in {own_cache}, 0.0 MB\n"


def test_a_folder_of_runs_with_other_files_is_not_an_entry(cnnreg: Cnnreg, runs: Path) -> None:
    outer = runs.parent / "work"
    outer.mkdir()
    runs.rename(outer / "project")
    shutil.copytree(outer / "project" / "first", outer / "[1]")
    listed = json.loads(cnnreg("runs", outer, "--json").out)
    assert [Path(row["run"]).name for row in listed] == ["[1]"]
    assert cnnreg("runs", outer, "--prune", "*", "--yes").code == 0
    assert names(outer) == {"project"}
    shutil.copytree(outer / "project" / "first", outer / "[1]")
    assert cnnreg("runs", outer, "--prune", "[1]", "--yes").code == 0  # a name that looks like a pattern
    assert (outer / "project" / "notes" / "thesis.txt").read_text() == "mine"


def test_the_run_of_the_current_directory_has_its_name(
    cnnreg: Cnnreg, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs / "first")
    assert cnnreg("runs", ".").out.splitlines()[1].split()[0] == "first"
    assert cnnreg("runs", ".", "--prune", ".", "--yes").code == 2
