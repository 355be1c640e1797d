"""Trainings that are stopped and resumed, on a model that trains in a second."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

import cnn_registry
from cnn_registry import backend
from cnn_registry.data import ImageDataset, register_dataset
from cnn_registry.data.digits import digits
from cnn_registry.errors import BadImageError, RunError, TrainingError
from cnn_registry.runs.history import Epoch, csv_text, read_history
from cnn_registry.runs.run import Run
from cnn_registry.workflows.resume import unfinished
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    import keras

    from tests.conftest import FakePlugins
else:
    keras = backend.keras()

pytestmark = pytest.mark.slow

train = partial(cnn_registry.train, report=False)
resume = partial(cnn_registry.resume, report=False)
"""Most tests here do not look at the report, which takes as long as the training."""

VARIED: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 8,
    "image_size": 16,
    "optimizer.learning_rate": 0.1,
    "ema": 0.5,
    "early_stopping.patience": 3,
}
SETTINGS = UNVARIED | VARIED
STEPS = 6
"""An epoch of the 48 training images."""

Callback = Callable[..., Any]


def after_steps(count: int, act: Callable[[], None]) -> Any:
    """A callback that acts once, after so many steps of a training."""
    left = [count]

    def count_down(batch: int, logs: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    return keras.callbacks.LambdaCallback(on_train_batch_begin=count_down)


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


class OptimizerState(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """What the optimizer remembers when training has ended."""

    def on_train_end(self, logs: Any = None) -> None:
        self.variables = [np.array(variable) for variable in self.model.optimizer.variables]
        assert len(self.variables) > 2


@pytest.fixture(scope="module")
def weights() -> Callable[[Path], list[np.ndarray]]:
    import h5py

    def read(path: Path) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
        assert found
        return found

    return read


def rows(run: Run) -> list[dict[str, float]]:
    """The history except for what the clock says."""
    kept = [asdict(row) for row in read_history(run.history_csv)]
    return [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in kept]


@cache
def undisturbed(model: str, data: Path) -> tuple[Run, list[np.ndarray]]:
    """A training that nobody stops, made once, and what the optimizer remembers at its end."""
    state = OptimizerState()
    return train(model, data=data, settings=VARIED, out=data.parent / "undisturbed", callbacks=[state]), state.variables


@pytest.mark.parametrize("step", [1, STEPS, 3 * STEPS + 2])
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    tiny: str, colours: Path, tmp_path: Path, step: int, weights: Callable[[Path], list[np.ndarray]]
) -> None:
    whole, variables = undisturbed(tiny, colours)
    state = OptimizerState()
    stop = after_steps(step, send(signal.SIGINT))
    stopped = train(tiny, data=colours, settings=VARIED, out=tmp_path, callbacks=[stop])
    assert stopped.record.status == "interrupted"
    ended = resume(stopped.path, callbacks=[state])
    for ours, theirs in zip(state.variables, variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert ended.record.status == whole.record.status
    assert rows(ended) == rows(whole)
    for name in ("best_weights", "last_weights"):
        for ours, theirs in zip(weights(getattr(ended, name)), weights(getattr(whole, name)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    [resumption] = Run.open(ended.path).record.resumed
    assert (resumption.changed, resumption.step) == ([], step)
    assert not (ended.path / "checkpoints").exists()


DROPOUT = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="Half of its pixels are left out", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
)
def holes(input_shape, num_classes):
    '''A convolution, normalised, behind dropout.'''
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3)(keras.layers.Dropout(0.5)(inputs))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="holes")
"""


def test_what_is_dropped_and_normalised_is_the_same_after_a_stop(
    plugins: FakePlugins, colours: Path, tmp_path: Path, weights: Callable[[Path], list[np.ndarray]]
) -> None:
    plugins.install("cnnreg-holes", source=DROPOUT, entries={"holes": "cnnreg_holes:holes"})
    undisturbed = train("holes", data=colours, settings=SETTINGS, out=tmp_path)
    stop = after_steps(STEPS + 3, send(signal.SIGTERM))
    ended = resume(train("holes", data=colours, settings=SETTINGS, out=tmp_path, callbacks=[stop]).path)
    assert rows(ended) == rows(undisturbed)
    for ours, theirs in zip(weights(ended.last_weights), weights(undisturbed.last_weights), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_sigterm_leaves_a_checkpoint_and_no_report(tiny: str, colours: Path, tmp_path: Path) -> None:
    stop = after_steps(STEPS + 2, send(signal.SIGTERM))
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[stop], report=True)
    assert run.record.status == "terminated"
    assert [path.name for path in (run.path / "checkpoints").iterdir()][-1].startswith("step-")
    assert not (run.path / "report.json").exists()


def test_a_signal_as_soon_as_there_is_a_record_leaves_a_true_state(
    tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("cnn_registry.workflows.train.note", lambda text: os.kill(os.getpid(), signal.SIGTERM))
    run = train(tiny, data=colours, settings={"epochs": 1, "image_size": 16, "batch_size": 16}, out=tmp_path)
    assert run.record.status == "terminated"
    assert run.checkpoints.exist
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_second_ctrl_c_stops_at_once(tiny: str, colours: Path, tmp_path: Path) -> None:
    def twice() -> None:
        send(signal.SIGINT)()
        send(signal.SIGINT)()

    before = signal.getsignal(signal.SIGINT)
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[after_steps(2, twice)])
    assert run.record.status == "interrupted"
    assert not run.last_weights.exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_checkpoints_inside_an_epoch(tiny: str, colours: Path, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    class Look(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(sorted(path.name for path in (next(tmp_path.glob("*_tiny_*")) / "checkpoints").glob("*")))

    train(
        tiny, data=colours, settings=SETTINGS | {"epochs": 1}, out=tmp_path, callbacks=[Look()], checkpoint_minutes=1e-9
    )
    assert seen[0] == ["step-000000001"]
    assert seen[3] == ["step-000000003", "step-000000004"]


@cache
def stopped_once(model: str, data: Path) -> Path:
    """The directory of a run that was stopped in its third epoch; read it through the fixture ``stopped``."""
    stop = after_steps(2 * STEPS + 2, send(signal.SIGINT))
    return train(model, data=data, settings=SETTINGS, out=data.parent / "stopped", callbacks=[stop]).path


@pytest.fixture
def stopped(tiny: str, colours: Path, tmp_path: Path) -> Run:
    """A run of the test's own that was stopped in its third epoch."""
    path = stopped_once(tiny, colours)
    return Run.open(shutil.copytree(path, tmp_path / "runs" / path.name))


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_taken(
    stopped: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    resume(stopped.path, callbacks=[after_steps(2, send(signal.SIGINT))])  # leaves two checkpoints
    older, newer = sorted((stopped.path / "checkpoints").iterdir())
    with (newer / "model.npz").open("r+b") as file:
        file.seek(200)
        file.write(b"\0\1\2\3")
    ended = resume(stopped.path)
    assert "model.npz is not as it was written. It is not used." in capfd.readouterr().err
    assert ended.record.status in ("finished", "stopped early")
    assert ended.record.resumed[-1].step == int(older.name.removeprefix("step-"))


def test_without_any_checkpoint_it_begins_again(stopped: Run, capfd: pytest.CaptureFixture[str]) -> None:
    for directory in (stopped.path / "checkpoints").iterdir():
        (directory / "manifest.sha256").unlink()
    assert resume(stopped.path).record.resumed[-1].step == 0
    assert "has no checkpoint; its training starts again." in capfd.readouterr().err


def test_what_has_changed_is_refused_with_the_difference_unless_it_is_forced(stopped: Run, own_colours: Path) -> None:
    with pytest.raises(RunError, match=r"optimizer\.learning_rate was 0\.1, is 0\.05\. Use --force to resume anyway"):
        resume(stopped.path, settings={"optimizer.learning_rate": 0.05})
    record = stopped.record.model_copy(update={"versions": stopped.record.versions | {"keras": "3.0.0"}})
    Run(stopped.path, record).save()
    with pytest.raises(RunError, match=r"cannot be resumed exactly: keras was 3\.0\.0, is "):
        resume(stopped.path)
    picture = next((own_colours / "red").glob("*.png"))
    picture.write_bytes(next((own_colours / "blue").glob("*.png")).read_bytes())
    with pytest.raises(RunError, match=r"the images at .* or their classes have changed"):
        resume(stopped.path, data=own_colours)
    ended = resume(stopped.path, data=own_colours, force=True)
    assert len(ended.record.resumed[-1].changed) == 2


def test_a_run_that_has_ended_or_is_being_trained_is_refused(stopped: Run) -> None:
    with stopped.locked(), pytest.raises(RunError, match="Another process is training in"):
        resume(stopped.path)
    resume(stopped.path)
    with pytest.raises(RunError, match="already finished; there is nothing to resume"):
        resume(stopped.path)
    with pytest.raises(RunError, match="batch_size cannot be changed"):
        resume(Run.open(stopped.path).updated(status="interrupted").path, settings={"batch_size": 4})


def test_a_run_that_would_stop_at_once_is_not_trained_on(stopped: Run) -> None:
    history = [Epoch(n, 1.0, 0.5, 1.0, 0.5, 0.1, 1.0, 1.0) for n in (1, 2, 3)]
    stopped.write("history.csv", csv_text(history))
    ended = stopped.updated(
        status="stopped early", result={"last": history[-1].to_dict(), "best": history[0].to_dict()}
    )
    before = (ended.path / "run.json").read_bytes()
    with pytest.raises(RunError, match=r"would stop at once.* has not improved for 2 epochs.* early_stopping=none"):
        resume(ended.path, settings={"epochs": 9, "early_stopping.patience": 2})
    assert (ended.path / "run.json").read_bytes() == before


def test_the_newest_unfinished_run_of_the_same_arguments_is_found(tiny: str, colours: Path, stopped: Run) -> None:
    out = stopped.path.parent
    same: dict[str, Any] = {"data": colours, "settings": SETTINGS, "out": out}
    assert unfinished(tiny, **same) == stopped.path
    assert unfinished(tiny, **same | {"settings": SETTINGS | {"epochs": 5}}) is None
    assert unfinished(tiny, **same | {"data": None, "dataset": "digits"}) is None
    assert unfinished(tiny, **same, split="stratified") == stopped.path
    assert unfinished(tiny, **same, split="tuning") is None
    split = stopped.record.split
    Run.open(stopped.path).updated(split=split.model_copy(update={"name": "tuning"}))
    assert unfinished(tiny, **same, split="tuning") == stopped.path
    assert unfinished(tiny, **same) is None, "a split was named, which these arguments do not name"
    Run.open(stopped.path).updated(split=split)
    resume(stopped.path)
    assert unfinished(tiny, **same) is None


def test_an_unfinished_run_of_a_dataset_is_found_by_any_of_its_names_and_no_other(stopped: Run) -> None:
    @register_dataset(
        summary="Digits",
        num_classes=10,
        num_images=1797,
        image_size=32,
        is_default=True,
        aliases=("numbers",),
        replace=True,
    )
    def oxflower17(source: Path | None) -> ImageDataset:
        return digits(source)

    data = stopped.record.data.model_copy(update={"dataset": "digits", "given": None})
    Run.open(stopped.path).updated(data=data)
    same: dict[str, Any] = {"settings": SETTINGS, "out": stopped.path.parent}
    model = stopped.record.model.name
    assert unfinished(model, dataset="digits", **same) == stopped.path
    assert unfinished(model, dataset="cnn-registry:digits", **same) == stopped.path
    assert unfinished(model, **same) is None, "the default dataset is another one"
    Run.open(stopped.path).updated(data=data.model_copy(update={"dataset": "oxflower17"}))
    assert unfinished(model, **same) == unfinished(model, dataset="numbers", **same) == stopped.path


def test_an_unfinished_run_has_the_precision_that_it_began_with(tiny: str, colours: Path, stopped: Run) -> None:
    same: dict[str, Any] = {"data": colours, "out": stopped.path.parent}
    for precision in ("float32", "bfloat16"):
        recipe = stopped.record.recipe.with_settings({"precision": precision})
        Run.open(stopped.path).updated(recipe=recipe)
        assert unfinished(tiny, **same, settings=SETTINGS | {"precision": "auto"}) == stopped.path
        for asked in ("float32", "bfloat16"):
            found = unfinished(tiny, **same, settings=SETTINGS | {"precision": asked})
            assert found == (stopped.path if asked == precision else None)


def test_a_loss_that_is_not_finite_goes_back_and_halves_the_rate(
    tiny: str, colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Spoil(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
        left = 1

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if self.model.optimizer.iterations == 2 * STEPS + 1 and self.left:
                self.left -= 1
                self.model.trainable_variables[0].assign(np.nan * self.model.trainable_variables[0])

    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[Spoil()], on_nan="rollback")
    assert run.record.status in ("finished", "stopped early")
    assert (run.record.rollbacks, run.record.recipe.optimizer.learning_rate) == (1, 0.1)
    assert max(row["learning_rate"] for row in rows(run)[2:]) < 0.05
    assert "Going back to step" in capfd.readouterr().err
    assert [row["epoch"] for row in rows(run)] == list(range(1, len(rows(run)) + 1))


def block_checkpoints(out: Path) -> Any:
    """A callback that puts a file where the directory of the checkpoints would be."""

    def block() -> None:
        next(out.glob("*_tiny_*")).joinpath("checkpoints").write_text("in the way")

    return after_steps(2, block)


def test_a_checkpoint_that_cannot_be_written_ends_the_training_at_once(
    tiny: str, colours: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"step-000000006 cannot be written: File exists\.$"):
        train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[block_checkpoints(tmp_path)])
    [path] = tmp_path.glob("*_tiny_*")
    assert Run.open(path).record.status == "failed"
    (path / "checkpoints").unlink()
    assert resume(path).record.status in ("finished", "stopped early")


def test_it_continues_without_checkpoints_if_that_is_wanted(
    tiny: str, colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    blocked = block_checkpoints(tmp_path)
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[blocked], keep_going=True)
    assert run.record.status in ("finished", "stopped early")
    assert capfd.readouterr().err.count("Training continues without checkpoints.") == 1


def test_a_picture_that_vanishes_ends_the_training_in_one_line(
    tiny: str, own_colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64_000))  # less than twice the pictures

    def vanish() -> None:
        for picture in (own_colours / "red").glob("*.png"):
            picture.unlink()

    with pytest.raises(BadImageError, match=r"red/.*\.png cannot be read as an image: no such file") as caught:
        train(tiny, data=own_colours, settings=SETTINGS, out=tmp_path, callbacks=[after_steps(STEPS, vanish)])
    assert "\n" not in str(caught.value)


def test_running_out_of_memory_is_reported_with_what_helps(tiny: str, colours: Path, tmp_path: Path) -> None:
    def fail() -> None:
        raise MemoryError

    with pytest.raises(TrainingError, match=r"after step 2 \(epoch 1\): out of memory\. Try --set batch_size=4 or"):
        train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[after_steps(3, fail)])
