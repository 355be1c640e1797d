"""Networks of Keras' own operations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.blocks import LocalResponseNormalization, NearIdentity
from cnn_registry.networks.plain import with_keras_operations


@pytest.fixture
def own() -> Any:
    """A network with a layer of this library, one of its initializers, and a layer with weights of a plugin's kind."""
    keras = backend.keras()

    class Scale(keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras is imported by a function
        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(shape=(shape[-1],), initializer="random_normal")

        def call(self, x: Any) -> Any:
            return x * self.factor

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, kernel_initializer=NearIdentity(), name="conv")(inputs)
    x = Scale()(LocalResponseNormalization(name="norm")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x), name="own")


def test_the_file_needs_nothing_but_keras(own: Any, tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    expected = own(images)
    plain = with_keras_operations(own)
    np.testing.assert_allclose(plain(images), expected, rtol=1e-5, atol=1e-6)
    assert "cnn_registry" not in json.dumps(json.loads(plain.to_json()))
    plain.save(tmp_path / "plain.keras")
    loaded = backend.keras().models.load_model(tmp_path / "plain.keras")
    np.testing.assert_allclose(loaded(images), expected, rtol=1e-5, atol=1e-6)


def test_a_network_of_keras_own_layers_is_returned_as_it_is() -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3)])
    assert with_keras_operations(model) is model
