"""A run that is not what was written: damaged on the disk, or made by someone else."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_registry.errors import RunError
from cnn_registry.inference.model import load_model
from cnn_registry.runs.checkpoints import GROUPS, Checkpoints
from cnn_registry.runs.history import read_history
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import ArraySpec, Layout, Snapshot
from cnn_registry.workflows.resume import resume

FLIPS = 1000
"""Random bits that are flipped, beside all of the digest's."""


@pytest.fixture(scope="module")
def written(trained_once: Path) -> bytes:
    return (trained_once / "run.json").read_bytes()


def refusal(folder: Path, content: bytes) -> str:
    """The one line with which a record is refused."""
    (folder / "run.json").write_bytes(content)
    with pytest.raises(RunError) as caught:
        Run.open(folder)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_every_flipped_bit_is_detected(written: bytes, tmp_path: Path) -> None:
    bits = len(written) * 8
    chosen = set(range(bits - 90 * 8, bits)) | set(random.Random(0).sample(range(bits), FLIPS))
    for bit in chosen:
        damaged = bytearray(written)
        damaged[bit // 8] ^= 1 << bit % 8
        assert re.search(r"run\.json (is damaged|fails its SHA-256 check)", refusal(tmp_path, bytes(damaged)))


@given(data=st.data())
def test_every_edit_is_detected(written: bytes, tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(written)))
    end = data.draw(st.integers(start, min(len(written), start + 80)))
    edited = written[:start] + data.draw(st.binary(max_size=80)) + written[end:]
    if edited != written:
        refusal(tmp_path, edited)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_what_is_not_a_record_is_refused(tmp_path: Path, content: bytes) -> None:
    refusal(tmp_path, content)


def test_a_truncated_record_is_refused(written: bytes, tmp_path: Path) -> None:
    for length in range(0, len(written), 97):
        refusal(tmp_path, written[:length])


def test_a_record_that_nests_deeply_is_refused(written: bytes, tmp_path: Path) -> None:
    nested = b'"result": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"},"
    refusal(tmp_path, written.replace(b'"result": {', nested + b'"other": {', 1))


def test_a_record_changed_by_hand_is_refused_until_its_digest_is_taken_out(trained: Path) -> None:
    file = trained / "run.json"
    changed = file.read_text().replace('"red"', '"crimson"')
    file.write_text(changed)
    with pytest.raises(RunError, match=r'run\.json fails its SHA-256 check\. .* remove "sha256" from its end\.$'):
        Run.open(trained)
    file.write_text(json.dumps(json.loads(changed)))
    with pytest.raises(RunError, match=r"run\.json fails its SHA-256 check\."):
        Run.open(trained)
    file.write_text(changed[: changed.rindex(',\n  "sha256"')] + "\n}\n")
    assert "crimson" in Run.open(trained).record.data.class_names


OWN_FILES = (
    "run.json",
    "labels.txt",
    "history.csv",
    "best.weights.h5",
    "last.weights.h5",
    "report.json",
    "report.html",
    "curves.png",
    "confusion.png",
    ".lock",
)
DEEPER = (
    "tensorboard/train/events.out",
    "checkpoints/step-000000002/model.npz",
    "checkpoints/.writing-1-step-000000003",
)


def contents(folder: Path) -> dict[str, str]:
    """Everything below a folder: what files hold, and where links point."""
    return {
        path.relative_to(folder).as_posix(): (
            f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes().hex() if path.is_file() else "other"
        )
        for path in folder.rglob("*")
    }


LAYOUT = Layout(100, {group: [ArraySpec("path", (3,), "float64")] for group in GROUPS if group != "metrics"})


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, 0.0, (), (0, 0), {group: {"path": np.zeros(3)} for group in GROUPS})


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder outside the run, laid out as checkpoints are."""
    folder = tmp_path / "mine"
    for name in ("step-000000001", "step-000000009", ".writing-1-step-000000002"):
        (folder / name).mkdir(parents=True)
        (folder / name / "thesis.txt").write_text("years of work")
    (folder / "model.npz").write_text("years of work")
    return folder


@pytest.fixture
def handed_over(trained: Path) -> Path:
    """A run that could be resumed, from somebody else."""
    Run.open(trained).updated(status="interrupted")
    checkpoints = Run.open(trained).checkpoints
    for step in (1, 2):
        checkpoints.save(snapshot(step))
    return trained


def refused_unchanged(run: Path, mine: Path, match: str) -> None:
    """Not resumed, in one line, and nothing is written or removed in the run or outside."""
    before = contents(run), contents(mine)
    with pytest.raises(RunError, match=match) as caught:
        resume(run)
    assert "\n" not in str(caught.value)
    assert (contents(run), contents(mine)) == before


@pytest.mark.parametrize("name", [*OWN_FILES, *DEEPER])
@pytest.mark.parametrize("target", ["model.npz", "missing.txt", ""], ids=["file", "missing", "folder"])
def test_a_link_in_place_of_a_file_is_refused(handed_over: Path, mine: Path, name: str, target: str) -> None:
    file = handed_over / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.symlink_to(mine / target)
    refused_unchanged(handed_over, mine, rf"{file.name} is a link; .*\.$")


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/step-000000002", "tensorboard", "tensorboard/train"])
def test_a_link_in_place_of_a_folder_is_refused(handed_over: Path, mine: Path, name: str) -> None:
    folder = handed_over / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(mine)
    refused_unchanged(handed_over, mine, rf"{folder.name} is a link; .*\.$")


@pytest.mark.parametrize("name", ["run.json", "history.csv", "best.weights.h5", ".lock", *DEEPER])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(handed_over: Path, mine: Path, name: str) -> None:
    file = handed_over / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    refused_unchanged(handed_over, mine, rf"{file.name} is neither a regular file nor a folder; .*\.$")


@pytest.mark.parametrize("name", OWN_FILES[1:])
def test_a_folder_in_place_of_a_file_is_refused_before_training(handed_over: Path, name: str) -> None:
    (handed_over / name).unlink(missing_ok=True)
    (handed_over / name).mkdir()
    before = contents(handed_over)
    with pytest.raises(RunError, match=rf"{name} is a folder; expected a file\. Move it elsewhere\.$"):
        resume(handed_over)
    assert contents(handed_over) == before


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard"])
def test_a_file_in_place_of_a_folder_is_refused_before_training(handed_over: Path, name: str) -> None:
    shutil.rmtree(handed_over / name, ignore_errors=True)
    (handed_over / name).write_text("years of work")
    before = contents(handed_over)
    with pytest.raises(RunError, match=rf"{name} is a file; expected a folder\. Move it elsewhere\.$"):
        resume(handed_over)
    assert contents(handed_over) == before


def test_a_folder_in_place_of_the_record_is_not_a_run(handed_over: Path) -> None:
    (handed_over / "run.json").unlink()
    (handed_over / "run.json").mkdir()
    with pytest.raises(RunError, match="not a run directory"):
        Run.open(handed_over)


def test_a_lock_that_is_another_name_of_a_file_is_refused(handed_over: Path, mine: Path) -> None:
    (handed_over / ".lock").unlink(missing_ok=True)
    os.link(mine / "model.npz", handed_over / ".lock")
    with pytest.raises(RunError, match=r"\.lock is a second name of a file"), Run.open(handed_over).locked():
        raise AssertionError("it is not locked")
    assert (mine / "model.npz").read_text() == "years of work"


def test_the_run_itself_may_be_reached_through_a_link(handed_over: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(handed_over)
    with Run.open(tmp_path / "latest").locked():
        assert Run.open(tmp_path / "latest").record == Run.open(handed_over).record


def test_what_turned_into_a_link_after_the_run_was_opened_is_not_followed(handed_over: Path, mine: Path) -> None:
    run, before = Run.open(handed_over), contents(mine)
    for file, use in (
        (run.best_weights, lambda: load_model(run)),
        (run.last_weights, lambda: load_model(run, "last")),
        (run.history_csv, lambda: read_history(run.history_csv)),
        (run.path / "report.json", lambda: run.write("report.json", "{}")),
        (run.path / "run.json", lambda: Run.open(run.path)),
    ):
        file.unlink()
        file.symlink_to(mine / "model.npz")
        with pytest.raises(RunError, match=r"is a link|not a link"):
            use()
    assert contents(mine) == before


USES: dict[str, Callable[[Checkpoints], object]] = {
    "save": lambda checkpoints: checkpoints.save(snapshot(9)),
    "latest": lambda checkpoints: checkpoints.latest(LAYOUT),
    "sweep": Checkpoints.sweep,
    "remove": Checkpoints.remove,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("linked", ["checkpoints", "step-000000002"])
def test_no_use_of_checkpoints_goes_through_a_link(handed_over: Path, mine: Path, use: str, linked: str) -> None:
    before, checkpoints = contents(mine), Run.open(handed_over).checkpoints
    link = checkpoints.path if linked == "checkpoints" else checkpoints.path / linked
    shutil.rmtree(link)
    link.symlink_to(mine)
    if use in ("save", "latest"):
        with pytest.raises(RunError, match="is a link"):
            USES[use](checkpoints)
    else:
        USES[use](checkpoints)
    assert link.is_symlink()
    assert contents(mine) == before


@pytest.mark.parametrize("name", ["step-000000001", "step-000000009", ".writing-1-step-000000002"])
@pytest.mark.parametrize("planted", ["thesis.txt", "sub/thesis.txt", "model.npz/thesis.txt"])
def test_a_folder_with_other_files_than_a_checkpoints_stays(tmp_path: Path, name: str, planted: str) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", tmp_path / "best.weights.h5")
    thesis = checkpoints.path / name / planted
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    for step in (2, 3, 4, 5):
        checkpoints.save(snapshot(step))
    kept = {path.name for path in checkpoints.path.iterdir()}
    assert kept == {name, "step-000000004", "step-000000005"}
    checkpoints.sweep()
    latest = checkpoints.latest(LAYOUT)
    assert latest is not None
    assert latest.step == 5
    checkpoints.remove()
    assert [path.name for path in checkpoints.path.iterdir()] == [name]
    assert thesis.read_text() == "years of work"


def test_a_checkpoint_does_not_take_the_place_of_other_files(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", tmp_path / "best.weights.h5")
    thesis = checkpoints.path / "step-000000007" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    with pytest.raises(RunError, match=r"step-000000007 cannot be written: it holds other files than a checkpoint"):
        checkpoints.save(snapshot(7))
    assert thesis.read_text() == "years of work"


def test_damaged_checkpoints_of_later_steps_do_not_push_out_new_ones(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", tmp_path / "best.weights.h5")
    for step in (8, 9):
        checkpoints.save(snapshot(step))
        (checkpoints.path / f"step-00000000{step}" / "state.json").unlink()
    assert checkpoints.latest(LAYOUT) is None
    checkpoints.save(snapshot(1))
    latest = checkpoints.latest(LAYOUT)
    assert latest is not None
    assert latest.step == 1
    assert [path.name for path in checkpoints.path.iterdir()] == ["step-000000001"]
