"""The training loop, on a model that trains in a second."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cnn_registry
from cnn_registry import backend, create_model
from cnn_registry.errors import TrainingError, UsageError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.inference.model import load_model
from cnn_registry.runs.history import best_epoch, read_history
from cnn_registry.runs.run import Run
from tests.conftest import SETTINGS

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

pytestmark = pytest.mark.slow

keras = backend.keras()

train = partial(cnn_registry.train, report=False)
"""Most tests here do not look at the report, which takes as long as the training."""


def test_it_learns(trained: Path) -> None:
    history = read_history(trained / "history.csv")
    assert [row.epoch for row in history] == [1, 2, 3]
    assert history[-1].val_accuracy == 1.0
    assert history[-1].val_loss < history[0].val_loss
    assert all(row.images_per_second > 0 for row in history)


def test_the_result_gives_the_last_and_the_best_epoch(trained: Path) -> None:
    history = read_history(trained / "history.csv")
    result = Run.open(trained).record.result
    assert result["last"]["epoch"] == 3
    assert result["best"]["epoch"] == best_epoch(history).epoch


def losses(run: Path) -> list[float]:
    return [row.loss for row in read_history(run / "history.csv")]


def test_the_same_seed_gives_the_same_run_watched_or_not(
    trained: Path, tiny: str, colours: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[callback], tensorboard=True)
    assert losses(run.path) == pytest.approx(losses(trained), rel=1e-5)
    assert seen == [0, 1, 2]
    assert list((run.path / "tensorboard").rglob("events.out.tfevents.*"))


def test_another_seed_gives_another_run(trained: Path, tiny: str, colours: Path, tmp_path: Path) -> None:
    run = train(tiny, data=colours, settings=SETTINGS | {"seed": 2}, out=tmp_path)
    assert losses(run.path) != pytest.approx(losses(trained), rel=1e-3)


def test_early_stopping_ends_the_run(tiny: str, colours: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"epochs": 9, "early_stopping.patience": 1, "early_stopping.min_delta": 100.0}
    run = train(tiny, data=colours, settings=settings, out=tmp_path)
    assert run.record.status == "stopped early"
    assert len(read_history(run.history_csv)) == 2


def test_an_interrupted_run_keeps_what_it_has(tiny: str, colours: Path, tmp_path: Path) -> None:
    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[callback], report=True)
    assert Run.open(run.path).record.status == "interrupted"
    assert len(read_history(run.history_csv)) == 1
    assert run.last_weights.is_file()
    assert (run.path / "curves.png").is_file()


def test_interrupted_before_the_first_epoch_ends(tiny: str, colours: Path, tmp_path: Path) -> None:
    def interrupt(logs: Any) -> None:
        raise KeyboardInterrupt

    callback = keras.callbacks.LambdaCallback(on_train_begin=interrupt)
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[callback])
    assert (run.record.status, run.record.result) == ("interrupted", {})


def test_a_loss_that_is_not_finite_ends_with_advice(tiny: str, colours: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"optimizer.learning_rate": 1e30, "schedule.name": "constant", "schedule.warmup_epochs": 0}
    with pytest.raises(TrainingError, match=r"epoch 1, step 2 .*--set optimizer\.learning_rate=0\.1 "):
        train(tiny, data=colours, settings=settings, out=tmp_path)
    [path] = tmp_path.glob("*_tiny_colours")
    record = Run.open(path).record
    assert record.status == "failed"
    assert "no longer finite" in record.result["error"]


def test_weights_hold_no_optimizer_state_and_fit_the_model(trained: Path) -> None:
    import h5py

    with h5py.File(trained / "last.weights.h5") as file:
        assert "optimizer" not in file
    last, best = (np.fromfile(trained / f"{name}.weights.h5", "uint8").size for name in ("last", "best"))
    assert last == best


SEQUENTIAL = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="Layers in a row", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
    features={"stride2": cnn_registry.Feature("conv1", (8, 8, 4))},
)
def row(input_shape, num_classes):
    '''A convolution and a classifier.'''
    import keras

    conv = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv1")
    classify = keras.layers.Dense(num_classes, activation="softmax", name="predictions")
    return keras.Sequential([keras.Input(input_shape), conv, keras.layers.Flatten(), classify], name="row")
"""


def test_a_sequential_model_is_trained_and_cut_as_well(plugins: FakePlugins, colours: Path, tmp_path: Path) -> None:
    plugins.install("cnnreg-row", source=SEQUENTIAL, entries={"row": "cnnreg_row:row"})
    run = train("row", data=colours, settings=SETTINGS | {"epochs": 1}, out=tmp_path, report=True)
    assert evaluate(run).accuracy == run.record.result["report"]["accuracy"]
    images = np.zeros((2, 16, 16, 3), "float32")
    assert create_model("row", include_top=False)(images).shape == (2, 8, 8, 4)
    assert create_model("row", features=("stride2",))(images)["stride2"].shape == (2, 8, 8, 4)


OBSERVED = """
import cnn_registry

traced = []

@cnn_registry.register_model(
    family="tiny", summary="Notes each tracing of a training step", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
)
def observed(input_shape, num_classes):
    '''A convolution behind a layer whose Python code runs only when a step is traced.'''
    import keras

    class Observe(keras.layers.Layer):
        def call(self, x, training=None):
            if training:
                traced.append(tuple(x.shape))
            return x

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3)(Observe()(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="observed")
"""


def test_progressive_sizes_trace_the_step_once(plugins: FakePlugins, colours: Path, tmp_path: Path) -> None:
    plugins.install("cnnreg-observed", source=OBSERVED, entries={"observed": "cnnreg_observed:observed"})
    run = train("observed", data=colours, settings=SETTINGS | {"train_sizes": [8, 12, 16]}, out=tmp_path, report=True)
    assert sys.modules["cnnreg_observed"].traced == [(None, None, None, 3)]
    assert len(read_history(run.history_csv)) == 3
    assert evaluate(run).accuracy == pytest.approx(run.record.result["report"]["accuracy"])


def test_a_network_that_flattens_its_maps_takes_no_other_sizes(
    plugins: FakePlugins, colours: Path, tmp_path: Path
) -> None:
    source = plugins.declaration("flat").replace("GlobalAveragePooling2D", "Flatten")
    plugins.install("cnnreg-flat", source=source, entries={"flat": "cnnreg_flat:flat"})
    with pytest.raises(
        UsageError, match=r"flat has other weights at 8x8 pixels than at 16x16, so it cannot go through"
    ):
        train("flat", data=colours, settings=SETTINGS | {"train_sizes": [8, 16]}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_averaged_weights_are_validated_and_kept(tiny: str, colours: Path, tmp_path: Path) -> None:
    run = train(tiny, data=colours, settings=SETTINGS | {"epochs": 5, "ema": 1.0}, out=tmp_path)
    plain = train(tiny, data=colours, settings=SETTINGS | {"epochs": 5, "ema": None}, out=tmp_path)
    averaged, as_they_are = read_history(run.history_csv), read_history(plain.history_csv)
    assert [row.loss for row in averaged] == pytest.approx([row.loss for row in as_they_are], rel=1e-4)
    assert averaged[0].val_loss > as_they_are[0].val_loss  # the average lags behind
    assert evaluate(run, weights="last").accuracy == pytest.approx(averaged[-1].val_accuracy)
    assert not np.array_equal(*(load_model(each, "last").get_weights()[0] for each in (run, plain)))


def test_training_crops_are_cut_from_larger_images(
    tiny: str, own_colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNREG_CACHE", str(tmp_path / "cache"))
    (own_colours / "red" / "broken.png").write_bytes(b"no picture")
    settings = SETTINGS | {"epochs": 1, "decode_size": 24}
    run = train(tiny, data=own_colours, settings=settings, out=tmp_path)
    sizes = {np.load(path, mmap_mode="r").shape[1] for path in (tmp_path / "cache").rglob("images.npy")}
    assert sizes == {16, 24}
    assert Run.open(run.path).record.data.left_out.keys() == {"red/broken.png"}
    assert evaluate(run, weights="last").accuracy == pytest.approx(read_history(run.history_csv)[-1].val_accuracy)
