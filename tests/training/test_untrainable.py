"""Networks that cannot be trained are refused before a directory is made, or as soon as it is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry import train
from cnn_registry.errors import DivergedError, TrainingError, UsageError

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

SOURCE = """
import cnn_registry

def declared(function):
    return cnn_registry.register_model(
        family="f", summary="s", trainable_params=1, input_shape=(16, 16, 3),
        paper=cnn_registry.Paper("t", "a", 2020, "u"),
    )(function)

def ended(input_shape, layer):
    import keras

    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layer(keras.layers.GlobalAveragePooling2D()(inputs)))

@declared
def across_images(input_shape, num_classes):
    import keras

    dense, softmax = keras.layers.Dense(num_classes), keras.layers.Softmax(axis=0)
    return ended(input_shape, lambda x: softmax(dense(x)))

@declared
def fixed(input_shape, num_classes):
    import keras

    return ended(input_shape, keras.layers.Dense(num_classes, activation="softmax", trainable=False))

@declared
def no_numbers(input_shape, num_classes):
    import keras

    dense = keras.layers.Dense(num_classes, activation="softmax")
    return ended(input_shape, lambda x: dense(keras.ops.log(0 * x - 1)))
"""


@pytest.fixture
def networks(plugins: FakePlugins) -> None:
    names = ("across_images", "fixed", "no_numbers")
    plugins.install("fake-nets", source=SOURCE, entries={name: f"fake_nets:{name}" for name in names})


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize(
    ("name", "said"), [("across_images", "are not probabilities"), ("fixed", "^fixed has no trainable weights")]
)
def test_nothing_is_made_for_what_cannot_be_trained(colours: Path, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        train(name, data=colours, settings={"epochs": 1, "image_size": 16}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("networks")
def test_a_learning_rate_is_not_blamed_for_a_loss_that_never_was_finite(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not finite in the first step") as raised:
        train("no_numbers", data=colours, settings={"epochs": 1, "image_size": 16}, out=tmp_path, on_nan="rollback")
    assert not isinstance(raised.value, DivergedError)
