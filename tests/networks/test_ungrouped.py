"""Grouped convolutions as convolutions side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.networks.ungrouped import split_groups


def network(*, use_bias: bool) -> Any:
    keras = backend.keras()
    inputs = keras.Input((8, 8, 6))
    x = keras.layers.Conv2D(9, 3, groups=3, strides=2, padding="same", activation="relu", use_bias=use_bias)(inputs)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(4)(x), name="grouped")
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("use_bias", [True, False])
def test_it_computes_the_same_without_groups(use_bias: bool) -> None:
    model = network(use_bias=use_bias)
    split = split_groups(model)
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 6)).astype("float32")
    np.testing.assert_allclose(split(images), model(images), rtol=1e-5, atol=1e-5)
    groups = [layer.groups for layer in split.layers if hasattr(layer, "groups")]
    assert groups == [1, 1, 1]
    assert split.count_params() == model.count_params()


def test_a_sequential_model_is_split_as_well() -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3, groups=2)])
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 4)).astype("float32")
    split = split_groups(model)
    assert split is not model
    np.testing.assert_allclose(split(images), model(images), rtol=1e-5, atol=1e-5)


def test_a_network_without_groups_is_returned_as_it_is() -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3)])
    assert split_groups(model) is model
