"""The status of a run whose process has died without a word."""

from __future__ import annotations

import json
import platform
import shutil
from typing import TYPE_CHECKING

import pytest

from cnn_registry.runs import lock
from cnn_registry.runs.machine import training_process
from cnn_registry.runs.record import ProcessRecord
from cnn_registry.runs.run import GONE, Run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cnnreg


@pytest.fixture
def left(trained: Path) -> Run:
    """A run as a killed process leaves it."""
    return Run.open(trained).updated(status="running", process=training_process(), result={})


def test_a_run_without_a_process_is_interrupted_everywhere(left: Run, cnnreg: Cnnreg) -> None:
    assert left.record.process == ProcessRecord(host=platform.node(), pid=left.record.process.pid)  # type: ignore[union-attr]
    assert left.status == GONE
    assert Run.open(left.path).record.status == "running"  # looking changes nothing
    assert GONE in repr(left)
    [row] = json.loads(cnnreg("runs", left.path, "--json").out)
    assert row["status"] == GONE
    left.best_weights.unlink()
    assert cnnreg("predict", left.path, left.path / "curves.png").err.count(GONE) == 1
    assert cnnreg("report", left.path).code == 0
    assert f"Status: {GONE}." in (left.path / "report.html").read_text()


def test_one_that_is_trained_is_running_wherever_its_directory_is(left: Run, tmp_path: Path, cnnreg: Cnnreg) -> None:
    with left.locked():
        assert left.status == "running"
        copied = Run.open(shutil.copytree(left.path, tmp_path / "copied"))
        moved = Run.open(left.path.rename(tmp_path / "moved"))
        assert (copied.status, moved.status) == (GONE, "running")
        assert "stop it first" in cnnreg("runs", tmp_path, "--prune", "moved", "--yes").err
    assert moved.status == GONE


def test_looking_does_not_keep_others_from_training(left: Run) -> None:
    with left.locked():
        pass
    assert not lock.is_locked(left.path)
    with left.locked():
        assert lock.is_locked(left.path)


def test_what_cannot_be_known_is_shown_as_it_is_recorded(left: Run) -> None:
    elsewhere = left.updated(process=ProcessRecord(host="another", pid=1))
    assert elsewhere.status == "running"
    assert Run(left.path, left.record.model_copy(update={"process": None})).status == "running"
    assert left.updated(status="failed").status == "failed"
