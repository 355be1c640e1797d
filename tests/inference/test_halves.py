from __future__ import annotations

import numpy as np

from cnn_registry import backend
from cnn_registry.explain.grad_cam import GradCam
from cnn_registry.inference.halves import halves_at

SIZE = 16


def test_the_halves_compute_what_the_network_does_bit_for_bit() -> None:
    keras = backend.keras()
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((SIZE, SIZE, 3))
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, padding="same", strides=2)(x)
        x = keras.layers.ReLU(name=f"maps{filters}")(keras.layers.BatchNormalization()(x))
    outputs = keras.layers.Dense(4, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    network = keras.Model(inputs, outputs)
    images = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    batch = backend.tensorflow().constant(images / np.float32(255))
    for layer in ("maps8", "maps16"):
        halves = halves_at(network, layer)
        assert halves
        np.testing.assert_array_equal(halves(batch), network(batch, training=False))
        shared, alone = GradCam(network, layer, "unit", halves)(images), GradCam(network, layer, "unit")(images)
        np.testing.assert_array_equal(shared.maps, alone.maps)
        assert shared.maps.any()
        np.testing.assert_array_equal(shared.probabilities, alone.probabilities)
    assert halves_at(keras.Sequential([keras.layers.Dense(2)]), "dense") is None  # it has no graph before it is built


def test_a_network_with_a_path_around_the_layer_has_no_halves() -> None:
    keras = backend.keras()
    inputs = keras.Input((SIZE, SIZE, 3))
    side = keras.layers.ReLU(name="side")(inputs)
    network = keras.Model(inputs, keras.layers.Flatten()(keras.layers.Add()([inputs, side])))
    assert halves_at(network, "side") is None
