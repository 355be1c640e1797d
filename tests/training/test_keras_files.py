"""Files and copies that callbacks of the user make during training: Keras' own, usable without this library."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cnn_registry import backend, train

if TYPE_CHECKING:
    import keras

    from tests.conftest import FakePlugins, RunPython
else:
    keras = backend.keras()

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"epochs": 1, "batch_size": 16, "image_size": 16, "optimizer.learning_rate": 0.1, "ema": 1.0}

NETWORK = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="A stem, a block, a head after the stem", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
    features={"stride2": cnn_registry.Feature("stem", (8, 8, 4))}, aux_heads={"aux": 0.3},
)
def headed(input_shape, num_classes, *, aux_heads=False, kernel_initializer="cnn_registry>NearIdentity"):
    '''Convolutions with everything that training replaces.'''
    import keras
    import cnn_registry.blocks

    inputs = keras.Input(input_shape)
    options = {"padding": "same", "kernel_initializer": kernel_initializer}
    stem = keras.layers.Conv2D(4, 3, strides=2, name="stem", **options)(inputs)
    x = keras.layers.BatchNormalization()(stem)
    x = keras.layers.Dropout(0.1)(keras.layers.ReLU()(keras.layers.Conv2D(4, 1, **options)(x)))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name="headed")
    x = keras.layers.GlobalAveragePooling2D()(stem)
    aux = keras.layers.Dense(num_classes, activation="softmax", name="aux")(x)
    return keras.Model(inputs, {"predictions": outputs, "aux": aux}, name="headed")
"""

ELSEWHERE = """
import json, sys
import keras
import numpy as np

keras.saving.get_custom_objects().clear()
for name in [name for name in sys.modules if name.partition(".")[0] == "cnn_registry"]:
    del sys.modules[name]  # the process has imported Keras by way of it

def found(path, images):
    model = keras.models.load_model(path)
    labels = np.eye(3)[[0, 1, 2, 0]]
    outputs, optimizer = model.predict(images, verbose=0), model.optimizer
    if isinstance(outputs, dict):
        labels = {name: labels for name in outputs}
        outputs = outputs["predictions"]
    losses = model.evaluate(images, labels, verbose=0, return_dict=True)
    model.fit(images, labels, verbose=0)
    return {
        "kind": type(optimizer).__name__,
        "optimizer": optimizer.get_config(),
        "variables": len(optimizer.variables),
        "losses": losses,
        "outputs": outputs.tolist(),
    }

images, *written, with_our_layer = sys.argv[1:]
answer = [found(path, np.load(images)) for path in written]
assert "cnn_registry" not in sys.modules
import cnn_registry.blocks
keras.models.load_model(with_our_layer)
print(json.dumps(answer))
"""


class Copies(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Copies the model in each way during and after training, and keeps what it says of some images."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self.images = images
        self.said: list[np.ndarray] = []
        self.copies: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 1:
            self._copy()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._copy()

    def on_train_end(self, logs: Any = None) -> None:
        self._copy()

    def _copy(self) -> None:
        for copied in (copy.deepcopy(self.model), pickle.loads(pickle.dumps(self.model))):
            self.said.append(main(self.model(self.images, training=False)))
            self.copies.append(main(copied(self.images, training=False)))
            assert type(copied.optimizer).__module__.startswith("keras.")
            assert len(copied.optimizer.variables) == len(self.model.optimizer.variables)


def main(outputs: Any) -> np.ndarray:
    return np.asarray(outputs["predictions"] if isinstance(outputs, dict) else outputs)


@pytest.fixture
def headed(plugins: FakePlugins) -> str:
    plugins.install("cnnreg-headed", source=NETWORK, entries={"headed": "cnnreg_headed:headed"})
    return "headed"


CASES: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "SGD"),
    ({"model.aux_heads": False, "fine_tuning.rate_decay": 0.5}, "SGD"),
    ({"optimizer.name": "adamw", "fine_tuning.rate_decay": 0.5}, "AdamW"),
)
"""Settings of a training, and Keras' name of its optimizer."""


def test_files_that_callbacks_write_are_loaded_without_this_library_and_its_layers_with_one_import(
    headed: str, colours: Path, tmp_path: Path, run_warm_python: RunPython
) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    files = [tmp_path / f"kept{number}.keras" for number in range(len(CASES))]
    trained = [
        trained_with_copies(headed, colours, tmp_path, settings, file, images)
        for (settings, _), file in zip(CASES, files, strict=True)
    ]
    ours = tmp_path / "ours.keras"
    save_our_layers(ours)

    ended = run_warm_python("-c", ELSEWHERE, *map(str, (tmp_path / "images.npy", *files, ours)))
    assert ended.returncode == 0, ended.stderr
    for found, copies, (_, kind) in zip(json.loads(ended.stdout), trained, CASES, strict=True):
        assert_as_trained(found, copies, kind)


def trained_with_copies(
    name: str, data: Path, folder: Path, settings: dict[str, Any], file: Path, images: np.ndarray
) -> Copies:
    copies = Copies(images)
    keep = keras.callbacks.ModelCheckpoint(str(file))
    train(name, data=data, settings=SETTINGS | settings, out=folder / "runs", callbacks=[keep, copies], report=False)
    for said, found in zip(copies.said, copies.copies, strict=True):
        np.testing.assert_array_equal(found, said)
    assert len(copies.said) == 6
    return copies


def save_our_layers(file: Path) -> None:
    from cnn_registry.blocks import LocalResponseNormalization, NearIdentity

    layer = keras.layers.Conv2D(4, 1, kernel_initializer=NearIdentity())
    keras.Sequential([keras.Input((4, 4, 4)), layer, LocalResponseNormalization()]).save(file)


def assert_as_trained(found: dict[str, Any], copies: Copies, kind: str) -> None:
    np.testing.assert_allclose(found["outputs"], copies.said[-1], rtol=0.02, atol=0.01)  # bfloat16, if it was used
    assert found["optimizer"]["weight_decay"] == pytest.approx(1e-3)
    assert found["optimizer"]["global_clipnorm"] == 5.0
    assert found["optimizer"]["learning_rate"]["class_name"] == "CosineDecay"
    assert (found["kind"], found["variables"]) == (kind, len(copies.model.optimizer.variables))
    if "aux_loss" in found["losses"]:
        losses = found["losses"]
        assert losses["loss"] == pytest.approx(losses["predictions_loss"] + 0.3 * losses["aux_loss"], rel=1e-4)
        assert "predictions_accuracy" in losses
    else:
        assert "accuracy" in found["losses"]
