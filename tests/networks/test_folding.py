from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cnn_registry import backend, create_model
from cnn_registry.blocks import Conv2D_BN
from cnn_registry.networks.folding import fold_batch_norm

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()

SHAPE = (16, 16, 3)


def settled(model: Any) -> Any:
    """The model with normalisations as after a training."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


def normalisations(model: Any) -> int:
    return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


def network(*blocks: Callable[[Any], Any]) -> Any:
    x = inputs = keras.Input(SHAPE)
    for block in blocks:
        x = block(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return settled(keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(x)))


def same_answers(model: Any, folded: Any) -> None:
    images = np.random.default_rng(1).random((3, *model.input_shape[1:]), np.float32)
    expected = model.predict_on_batch(images)
    assert folded.predict_on_batch(images) == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 0.001


@pytest.mark.parametrize(("name", "plugin"), [("inception_v2", "cnnreg_inception"), ("resnet18", "cnnreg_resnet")])
def test_a_network_answers_as_before(name: str, plugin: str) -> None:
    pytest.importorskip(plugin)
    model = settled(create_model(name, num_classes=5, input_shape=(64, 64, 3)))
    images = np.random.default_rng(1).random((2, 64, 64, 3), np.float32)
    expected = np.asarray(model(images))  # to trace networks of this size takes longer than to call them
    folded = fold_batch_norm(model)
    assert np.asarray(folded(images)) == pytest.approx(expected, abs=1e-4)
    assert normalisations(folded) == 0
    keras.utils.clear_session(free_memory=False)


@pytest.mark.parametrize(
    "options",
    [
        {"order": "bn_relu", "use_bias": True},
        {"order": "bn_relu", "use_bias": False, "scale": False},
        {"activation": None, "epsilon": 0.1},
    ],
)
def test_a_block_answers_as_before(options: dict[str, Any]) -> None:
    model = network(lambda x: Conv2D_BN(x, 8, 3, "same", 2, **options), lambda x: Conv2D_BN(x, 4, 3, 1, 1, **options))
    folded = fold_batch_norm(model)
    assert normalisations(folded) == 0
    same_answers(model, folded)


def test_groups_and_a_sequential_model() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Conv2D(6, 3, groups=3), layers.BatchNormalization(center=False), layers.Flatten()]
    )
    folded = fold_batch_norm(settled(model))
    assert normalisations(folded) == 0
    same_answers(model, folded)


def test_what_is_activated_first_stays() -> None:
    model = network(lambda x: Conv2D_BN(x, 8, 3, "same", 1, order="relu_bn"))
    assert fold_batch_norm(model) is model


def test_a_convolution_that_others_read_stays() -> None:
    def block(x: Any) -> Any:
        maps = keras.layers.Conv2D(4, 3)(x)
        return keras.layers.add([maps, keras.layers.BatchNormalization()(maps)])

    model = network(block)
    assert fold_batch_norm(model) is model


def test_a_layer_that_is_used_twice_stays() -> None:
    twice = keras.layers.Conv2D(3, 3, padding="same")
    model = network(twice, keras.layers.BatchNormalization(), twice)
    assert fold_batch_norm(model) is model


def test_a_model_without_a_graph_stays() -> None:
    class Own(keras.Model):  # type: ignore[misc]  # Keras ships no type information
        def __init__(self) -> None:
            super().__init__()
            self.maps, self.normalisation = keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()

        def call(self, x: Any) -> Any:
            return self.normalisation(self.maps(x))

    model = Own()
    model(np.zeros((1, *SHAPE), np.float32))
    assert fold_batch_norm(model) is model


@pytest.mark.parametrize("axis", [1, 2])
def test_a_normalisation_of_rows_or_columns_stays(axis: int) -> None:
    convolution = keras.layers.Conv2D(SHAPE[0], 3, padding="same")  # as many filters as the map has rows and columns
    model = network(convolution, keras.layers.BatchNormalization(axis=axis))
    same_answers(model, fold_batch_norm(model))
    last = network(keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(axis=3))
    assert normalisations(fold_batch_norm(last)) == 0
