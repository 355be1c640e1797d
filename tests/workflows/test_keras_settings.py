"""Training, evaluation and prediction do not depend on what the user has set in Keras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cnn_registry import backend, evaluate, predict, train
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

pytestmark = pytest.mark.slow

NET = """
import cnn_registry

@cnn_registry.register_model(
    family="f", summary="s", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper("t", "a", 2020, "u"),
)
def net(input_shape, num_classes):
    import keras
    from cnn_registry.blocks import Conv2D_BN

    class Pool(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.average_pool(inputs, 2, strides=2)  # in the format that is set when it is called

    inputs = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling2D()(Pool()(Conv2D_BN(inputs, 8, 3, "same", 1)))
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="net")
"""

SETTINGS = UNVARIED | {"epochs": 2, "batch_size": 16, "image_size": 16, "precision": "float32"}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    choose("channels_last", "float32", "float32")


def choose(*chosen: str, epsilon: float = 1e-7, epochs: int | None = None, steps: int | None = None) -> None:
    config = backend.keras().config
    config.set_image_data_format(chosen[0])
    config.set_floatx(chosen[1])
    config.set_dtype_policy(chosen[2])
    config.set_epsilon(epsilon)
    config.set_max_epochs(epochs)
    config.set_max_steps_per_epoch(steps)


def figures(colours: Path, out: Path) -> Any:
    run = train("net", data=colours, settings=SETTINGS, out=out, report=False)
    evaluation = evaluate(run, tta=True)
    [prediction] = predict(run, [colours / "red" / "0.png"])
    last = {name: run.record.result["last"][name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    return last, evaluation.report(), prediction.classes


def test_the_figures_are_the_same(plugins: FakePlugins, colours: Path, tmp_path: Path) -> None:
    plugins.install("fake-net", source=NET, entries={"net": "fake_net:net"})
    expected = figures(colours, tmp_path / "plain")
    chosen = ("channels_first", "float16", "mixed_float16")
    choose(*chosen, epsilon=0.3, epochs=1, steps=1)
    found = figures(colours, tmp_path / "other")
    config = backend.keras().config
    assert (config.epsilon(), config.max_epochs(), config.max_steps_per_epoch()) == (0.3, 1, 1)
    assert (config.image_data_format(), config.floatx(), config.dtype_policy().name) == chosen
    assert found == expected


def test_another_backend_is_refused_in_one_line(plugins: FakePlugins, colours: Path, run_python: Any) -> None:
    plugins.install("fake-net", source=NET, entries={"net": "fake_net:net"})
    arguments = ["train", "net", "--data", str(colours), "--out", str(plugins.root / "runs")]
    done = run_python("-m", "cnn_registry", *arguments, KERAS_BACKEND="jax")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines(keepends=True)[-1] == (
        "Error: Training and evaluation need Keras on TensorFlow, but its backend is 'jax'. Start Python with "
        "KERAS_BACKEND=tensorflow.\n"
    )
    assert not (plugins.root / "runs").exists()


def test_create_model_builds_on_the_chosen_backend(plugins: FakePlugins, run_python: Any) -> None:
    plugins.install("fake-net", source=NET, entries={"net": "fake_net:net"})
    code = "from cnn_registry import create_model; print(create_model('net', num_classes=2).output_shape)"
    done = run_python("-c", f"{code}; import keras; print(keras.config.backend())", KERAS_BACKEND="jax")
    assert done.stdout == "(None, 2)\njax\n", done.stderr
