"""Finished runs that are trained on, and cross-validations, that are cut short: nothing is lost, nothing is mixed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.errors import DataError, RunError
from cnn_registry.runs.new_directory import reserved
from cnn_registry.runs.run import Run
from cnn_registry.training.recipe_callbacks import restore_states
from cnn_registry.workflows.cross_validate import train_folds
from cnn_registry.workflows.resume import resume
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = UNVARIED | {"epochs": 1, "batch_size": 8, "image_size": 16, "optimizer.learning_rate": 0.1}
MORE = {"epochs": 5}
"""The trained run has three."""


def at_step(count: int, act: Any) -> Any:
    """A callback that acts once, when so many steps have begun."""
    steps = iter(range(1, 1000))
    return keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: act() if next(steps) == count else None
    )


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def weights(file: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(file) as stored:
        stored.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_a_run_that_is_trained_on_ends_the_same_whether_it_was_interrupted_or_not(
    trained: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    whole = resume(trained, settings=MORE, report=False)
    assert resume(other, settings=MORE, report=False, callbacks=[at_step(7, interrupt)]).status == "interrupted"
    resumed = resume(other, report=False)
    for name in ("best.weights.h5", "last.weights.h5"):
        one, two = weights(whole.path / name), weights(resumed.path / name)
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[key], two[key]) for key in one)


def test_a_run_that_is_trained_on_and_killed_keeps_what_it_was(trained: Path, tmp_path: Path) -> None:
    before = Run.open(trained).history

    def killed() -> None:
        shutil.copytree(trained, tmp_path / "killed")
        raise RuntimeError("the end")

    with pytest.raises(Exception, match="the end"):
        resume(trained, settings=MORE, report=False, callbacks=[at_step(1, killed)])
    assert Run.open(trained).status == "finished"  # not a step was done
    assert not (trained / "checkpoints").exists()
    after = resume(tmp_path / "killed", report=False)
    assert [row.val_loss for row in after.history[:3]] == [row.val_loss for row in before]
    assert (after.record.resumed[-1].step, len(after.history), after.status) == (18, 5, "finished")


def test_folds_are_not_mixed_and_their_images_may_have_moved(tiny: str, own_colours: Path, tmp_path: Path) -> None:
    begun = train_folds(
        tiny,
        2,
        data=own_colours,
        settings=SETTINGS,
        out=tmp_path / "runs",
        report=False,
        callbacks=[at_step(6, interrupt)],
    )
    moved = own_colours.rename(tmp_path / "moved")
    again: dict[str, Any] = {"data": moved, "settings": SETTINGS, "resume_from": begun.path, "report": False}
    with pytest.raises(RunError, match=r"was trained with seed = .*; this asks for 9"):
        train_folds(tiny, 2, **again | {"settings": SETTINGS | {"seed": 9}})
    other = Path(shutil.copytree(moved, tmp_path / "other"))
    (other / "red" / "0.png").unlink()
    with pytest.raises(RunError, match="was trained on other images than those at"):
        train_folds(tiny, 2, **again | {"data": other})
    assert len(list(begun.path.glob("*/run.json"))) == 2
    folds = train_folds(tiny, 2, **again)
    assert folds.runs[-1].record.data.given == str(moved)
    validated = [image for run in folds.runs for image in run.record.split.val]
    assert len(validated) == len(set(validated)) == 60
    assert (folds.path / "report.json").is_file()


def test_each_cross_validation_has_a_directory_of_its_own(tiny: str, tmp_path: Path) -> None:
    with reserved(tmp_path / "a" / "runs", "x") as first, reserved(tmp_path / "a" / "runs", "x") as second:
        assert (first.name, second.name) == ("x", "x-2")
        (second / "kept").touch()
    assert not first.exists()
    with pytest.raises(DataError):
        train_folds(tiny, 99_999, data=tmp_path / "nowhere", out=tmp_path / "none")
    assert {path.name for path in tmp_path.iterdir()} >= {"a"}
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "state",
    [{}, [], None, "x", {"seconds": "x", "share": 0}, {"seconds": -1, "share": 0}, {"seconds": 0, "share": 1.5}],
)
def test_a_state_that_a_callback_does_not_take_is_one_line(state: object) -> None:
    from cnn_registry.recipes.load import load_recipe
    from cnn_registry.runs.training_progress import TrainingProgress
    from cnn_registry.training.callbacks.time_limit import TimeLimit

    limit = TimeLimit(load_recipe("default").with_settings({"time_limit": "90s"}), TrainingProgress(6), 2)
    with pytest.raises(RunError, match="The state of the callback time_limit in the checkpoint cannot be restored"):
        restore_states({"time_limit": limit}, {"time_limit": state})
