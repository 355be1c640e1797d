"""A training ends in a true state, whatever is raised; what cannot be trained is refused before anything is written."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cnn_registry
from cnn_registry import backend
from cnn_registry.errors import CnnRegistryError, RunError, TrainingError, UsageError
from cnn_registry.runs import Run, read_history
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

SETTINGS: dict[str, Any] = UNVARIED | {"epochs": 3, "batch_size": 16, "image_size": 16}


class Raises(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Raises at one of Keras' hooks, in the second epoch where it has one."""

    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__()
        self.epoch = 0
        setattr(self, hook, self._raise)
        self.error = error

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count."""
        self.epoch = epoch

    def _raise(self, *arguments: Any, **named: Any) -> None:
        if self.epoch >= 1 or not arguments:
            raise self.error


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_test_batch_end"])
def test_a_pass_that_a_callback_cuts_short_is_not_an_epoch(tiny: str, colours: Path, tmp_path: Path, hook: str) -> None:
    # Keras takes a StopIteration for the end of the images.
    callback = Raises(hook, StopIteration())
    with pytest.raises(TrainingError, match=r"ended after \d+ of \d+ steps.* StopIteration"):
        train(tiny, data=colours, settings=SETTINGS | {"batch_size": 4}, out=tmp_path, callbacks=[callback])
    record = the_run(tmp_path).record
    assert (record.status, record.result["last"]["epoch"]) == ("failed", 1)


@pytest.mark.parametrize(
    "callbacks",
    [[keras.callbacks.BackupAndRestore("backup")], ["CSVLogger"], [None], [keras.callbacks.CSVLogger], None],
)
def test_what_is_not_a_callback_and_what_restores_other_weights_is_refused(
    tiny: str, colours: Path, tmp_path: Path, callbacks: Any
) -> None:
    with pytest.raises(UsageError, match=r"callbacks takes|BackupAndRestore would"):
        train(tiny, data=colours, settings=SETTINGS, out=tmp_path / "runs", callbacks=callbacks)
    assert not (tmp_path / "runs").exists()


def the_run(out: Path) -> Run:
    [record] = out.glob("*/run.json")
    return Run.open(record.parent)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end", "on_test_batch_end", "on_train_begin"])
def test_an_exception_in_a_callback_leaves_the_reason_and_what_was_done(
    tiny: str, colours: Path, tmp_path: Path, hook: str
) -> None:
    callback = Raises(hook, ValueError("my own mistake"))
    if hook == "on_train_begin":
        callback.epoch = 1
    with pytest.raises(TrainingError, match="ValueError: my own mistake") as failed:
        train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[callback], report=True)
    assert isinstance(failed.value.__cause__, ValueError)
    run = the_run(tmp_path)
    assert run.record.status == "failed"
    assert "my own mistake" in run.record.result["error"]
    assert f"(epoch {1 if hook == 'on_train_begin' else 2})" in run.record.result["error"]
    if hook != "on_train_begin":
        assert run.record.result["last"]["epoch"] == len(read_history(run.history_csv)) >= 1
        assert run.best_weights.is_file()
        assert run.last_weights.is_file()
        assert (run.path / "curves.png").is_file()
    if hook in ("on_train_begin", "on_train_batch_end"):  # with nothing done, and within an epoch
        finished = resume(run.path)
        assert finished.record.status == "finished"
        assert [row.epoch for row in read_history(finished.history_csv)] == [1, 2, 3]


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError()], ids=["exit", "memory"])
def test_other_endings_are_recorded_as_well(tiny: str, colours: Path, tmp_path: Path, error: BaseException) -> None:
    with pytest.raises((SystemExit, TrainingError)):
        train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[Raises("on_epoch_end", error)])
    assert the_run(tmp_path).record.status == "failed"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated"), (signal.SIGINT, "interrupted")],
)
def test_signals_leave_a_checkpoint(
    tiny: str, colours: Path, tmp_path: Path, number: signal.Signals, status: str
) -> None:
    def send(batch: int, logs: Any) -> None:
        if batch == 1:
            os.kill(os.getpid(), number)

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=send)
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[callback])
    assert run.record.status == status
    assert run.checkpoints.exist
    if number == signal.SIGTERM:  # what an interrupted run resumes as is compared in test_resume.py
        assert resume(run.path).record.status == "finished"


def test_an_ignored_hangup_stays_ignored(tiny: str, colours: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: os.kill(os.getpid(), signal.SIGHUP))
        run = train(tiny, data=colours, settings=SETTINGS | {"epochs": 1}, out=tmp_path, callbacks=[callback])
        assert run.record.status == "finished"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_process_is_given_back_as_it_was(tiny: str, colours: Path, tmp_path: Path) -> None:
    tf = backend.tensorflow()
    from tensorflow.python.framework import config

    random.seed(3)
    np.random.seed(4)
    tf.random.set_seed(5)

    def state() -> list[object]:
        numpy = np.random.get_state(legacy=True)
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return [random.getstate(), str(numpy), config.is_op_determinism_enabled(), handlers, dict(os.environ)]

    before = state()
    train(tiny, data=colours, settings=SETTINGS | {"epochs": 1, "deterministic": True}, out=tmp_path)
    assert state() == before
    drawn = float(tf.random.uniform([]))
    tf.random.set_seed(5)
    assert float(tf.random.uniform([])) == drawn


@pytest.mark.parametrize("name", ["ReduceLROnPlateau", "LearningRateScheduler"])
def test_callbacks_that_set_the_rate_of_a_schedule_are_refused_and_work_without_one(
    tiny: str, colours: Path, tmp_path: Path, name: str
) -> None:
    def callback() -> Any:
        kind = getattr(keras.callbacks, name)
        return (
            kind(lambda epoch: 0.01 / (epoch + 1)) if name == "LearningRateScheduler" else kind(patience=0, min_delta=9)
        )

    with pytest.raises(UsageError, match=rf"{name} sets the learning rate.*schedule\.name=constant"):
        train(tiny, data=colours, settings=SETTINGS, out=tmp_path / "refused", callbacks=[callback()])
    assert not (tmp_path / "refused").exists()
    constant = SETTINGS | {"schedule.name": "constant", "schedule.warmup_epochs": 0}
    run = train(tiny, data=colours, settings=constant, out=tmp_path, callbacks=[callback()])
    rates = [row.learning_rate for row in read_history(run.history_csv)]
    assert rates[-1] < rates[0]


BODY = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="s", trainable_params=1, input_shape={shape},
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
)
def odd(input_shape, num_classes):
    '''A network that is odd in one way.'''
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    outputs = keras.layers.Dense(num_classes, activation="{activation}", name="predictions")(x)
    return keras.Model(inputs, {outputs}, name="odd")
"""


@pytest.mark.parametrize(
    ("oddity", "message"),
    [
        (
            {"activation": "linear"},
            r"outputs of odd are not probabilities: they sum to .* End the network in a softmax",
        ),
        ({"activation": "sigmoid"}, r"outputs of odd are not probabilities"),
        ({"outputs": "{'predictions': outputs, 'extra': x}"}, r"'predictions' and 'extra', but declares no auxiliary"),
        (
            {"outputs": "{'predictions': outputs}['squares' if shape[0] != shape[1] else 'predictions']"},
            r"could not be built for input_shape=\(16, 24, 3\).*squares.*one edge length",
        ),
    ],
    ids=["logits", "sigmoids", "undeclared outputs", "squares only"],
)
def test_what_cannot_be_trained_is_refused_before_a_directory_is_made(
    plugins: FakePlugins, colours: Path, tmp_path: Path, oddity: dict[str, str], message: str
) -> None:
    facts = {"shape": "(16, 16, 3)", "activation": "softmax", "outputs": "outputs"} | oddity
    source = BODY
    for key, value in facts.items():
        source = source.replace("{" + key + "}", value)
    plugins.install("cnnreg-odd", source=source, entries={"odd": "cnnreg_odd:odd"})
    settings = {"epochs": 1, "image_size": "16x24" if "squares" in message else 16}
    with pytest.raises(CnnRegistryError, match=message) as refused:
        train("odd", data=colours, settings=settings, out=tmp_path / "runs")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "runs").exists()


def stopped(tiny: str, colours: Path, out: Path) -> Run:
    """A run with a checkpoint in its second epoch."""

    def send(epoch: int, logs: Any) -> None:
        if epoch == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=send)
    return train(tiny, data=colours, settings=SETTINGS, out=out, callbacks=[callback])


def test_a_resumption_that_fails_leaves_the_record_as_it_was(tiny: str, colours: Path, tmp_path: Path) -> None:
    run = stopped(tiny, colours, tmp_path)
    before = (run.path / "run.json").read_bytes()
    for settings in ({"model.filters": 3}, {"fine_tuning.freeze": "nothing"}, {"precision": "bfloat16", "epochs": 0}):
        with pytest.raises(CnnRegistryError):
            resume(run.path, settings=settings, force=True)
        assert (run.path / "run.json").read_bytes() == before
    callback = Raises("on_train_begin", OSError())
    callback.epoch = 1
    with pytest.raises(TrainingError, match=r"\(epoch 2\)"):
        resume(run.path, settings={"label_smoothing": 0.2}, force=True, callbacks=[callback])
    assert Run.open(run.path).record == run.record
    assert resume(run.path).record.status == "finished"


def test_the_options_of_the_beginning_hold_when_a_run_is_resumed(tiny: str, colours: Path, tmp_path: Path) -> None:
    def stop(epoch: int, logs: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    run = train(
        tiny,
        data=colours,
        settings=SETTINGS,
        out=tmp_path,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)],
        tensorboard=True,
        on_nan="rollback",
        checkpoint_minutes=3.0,
        on_bad_image="error",
    )
    options = run.record.options
    assert (options.track, options.on_nan, options.checkpoint_minutes) == (["tensorboard"], "rollback", 3.0)
    assert options.on_bad_image == "error"
    count = len(list((run.path / "tensorboard").rglob("events.*")))
    resumed = resume(run.path, checkpoint_minutes=5.0)
    assert len(list((run.path / "tensorboard").rglob("events.*"))) > count
    assert resumed.record.options == options.model_copy(update={"checkpoint_minutes": 5.0})


def test_images_that_were_moved_are_given_when_a_run_is_resumed(tiny: str, own_colours: Path, tmp_path: Path) -> None:
    run = stopped(tiny, own_colours, tmp_path / "runs")
    moved = own_colours.rename(tmp_path / "elsewhere")
    with pytest.raises(CnnRegistryError, match=r"are no longer at .* with --data"):
        resume(run.path)
    assert resume(run.path, data=moved).record.data.given == str(moved)


def test_best_and_last_weights_that_are_the_same_are_stored_once(tiny: str, colours: Path, tmp_path: Path) -> None:
    run = train(tiny, data=colours, settings=SETTINGS | {"epochs": 1}, out=tmp_path)
    assert run.best_weights.samefile(run.last_weights)
    assert resume(run.path, settings={"epochs": 2}).last_weights.is_file()


@pytest.mark.parametrize("ema", [None, 1.0])
def test_a_finished_run_is_trained_on_for_more_epochs(
    tiny: str, colours: Path, tmp_path: Path, ema: float | None
) -> None:
    run = train(tiny, data=colours, settings=SETTINGS | {"epochs": 2, "ema": ema}, out=tmp_path)
    before = read_history(run.history_csv)
    with pytest.raises(RunError, match=r"already finished.*cnnreg train --resume .* --epochs 4"):
        resume(run.path)
    with pytest.raises(RunError, match="seed was 0, is 1"):
        resume(run.path, settings={"epochs": 4, "seed": 1})
    assert Run.open(run.path).record == run.record
    longer = resume(run.path, settings={"epochs": 4})
    rows = read_history(longer.history_csv)
    assert (longer.record.status, longer.record.recipe.epochs) == ("finished", 4)
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    assert rows[:2] == before
    assert rows[2].learning_rate > rows[3].learning_rate, "it follows the schedule of all four epochs"
    assert rows[2].loss < rows[0].loss
    assert longer.record.resumed[-1].step == 2 * 3


def test_a_picture_that_cannot_be_drawn_is_a_note(
    tiny: str, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def occupy(logs: Any) -> None:
        [record] = (tmp_path / "runs").glob("*/run.json")
        (record.parent / "confusion.png").mkdir()

    callback = keras.callbacks.LambdaCallback(on_train_end=occupy)
    settings = SETTINGS | {"epochs": 1}
    run = train(tiny, data=colours, settings=settings, out=tmp_path / "runs", callbacks=[callback], report=True)
    assert run.record.status == "finished"
    assert "could not be completed" in capsys.readouterr().err
    assert "confusion.png" in run.record.result["report"]["error"]
    assert run.last_weights.is_file()


def damaged(record: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    import json

    data = json.loads(record)
    data.pop("sha256")
    change(data)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("rollbacks", 10**9),
        ("rollbacks", "x"),
        ("resumed", [{"at": "", "step": 2**70, "changed": []}]),
        ("result", {"last": None}),
        ("result", {"best": {"epoch": "x"}}),
        ("model.input_shape", [16_000, 16_000, 3]),
        ("model.num_classes", 10**12),
        ("recipe.image_size", 16_000),
        ("recipe.epochs", None),
        ("options", {"on_nan": "explode"}),
        ("split", {"name": "x"}),
        ("model.spec.name", float("inf")),
    ],
)
def test_wrong_values_in_a_record_are_refused_in_one_line(trained: Path, where: str, value: object) -> None:
    def change(data: dict[str, Any]) -> None:
        *tables, last = where.split(".")
        for table in tables:
            data = data[table]
        data[last] = value

    file = trained / "run.json"
    file.write_bytes(damaged(file.read_bytes(), change))
    with pytest.raises(RunError, match=r"damaged or of another version") as refused:
        Run.open(trained)
    assert "\n" not in str(refused.value)
