"""The types in which layers compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.networks.acceleration import accelerate
from cnn_registry.networks.precision import set_precision
from tests.networks.conftest import network, random_maps, step

keras, tf = backend.keras(), backend.tensorflow()
layers = keras.layers


@pytest.fixture(autouse=True)
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor on which all of these operations pay, whatever this one is."""
    monkeypatch.setattr(backend, "cpu_flags", lambda: frozenset({"avx2"}))


@pytest.mark.parametrize(
    "layer",
    [
        layers.DepthwiseConv2D(3, use_bias=True),
        layers.SeparableConv2D(4, 3),
        layers.Conv2DTranspose(4, 3),
        layers.Conv2D(5, 3, data_format="channels_first"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers_with_a_bias_stay_in_float32(layer: Any) -> None:
    model = network((6, 6), 3, lambda x: layers.Activation("linear")(layer(x)), accelerated=False)
    set_precision(model, "bfloat16")
    assert layer.compute_dtype == "float32"


def test_without_a_bias_they_do_not() -> None:
    layer = layers.DepthwiseConv2D(3, use_bias=False)
    model = network((6, 6), 3, lambda x: layers.Activation("linear")(layer(x)), accelerated=False)
    set_precision(model, "bfloat16")
    assert layer.compute_dtype == "bfloat16"


class Doubled(layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no type information
    """A user's own layer, for which float32 may matter."""

    def call(self, inputs: Any) -> Any:
        return inputs * 2


def photographed(x: Any) -> Any:
    """Every kind of layer that a network here is made of."""
    x = layers.Conv2D(32, 3, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization(beta_initializer="ones")(x))
    x = layers.Concatenate()([layers.MaxPooling2D(3, 1, "same")(x), layers.AveragePooling2D(3, 1, "same")(x)])
    x = Doubled()(layers.Conv2D(32, 1, activation="relu")(x))
    return layers.Dense(5, activation="softmax")(layers.Dropout(0.0)(layers.Flatten()(x)))


def test_in_bfloat16_all_but_outputs_and_layers_of_ones_own_compute_in_it() -> None:
    model = network((6, 6), 3, photographed, accelerated=False)
    set_precision(model, "bfloat16")
    exact = {type(layer) for layer in model.layers if layer.compute_dtype == "float32"}
    assert exact == {layers.InputLayer, Doubled, layers.Dense}
    assert all(layer.compute_dtype == "bfloat16" for layer in model.layers if type(layer) not in exact)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model(random_maps(2, 6, 6, 3)).dtype == "float32"
    set_precision(model, "float32")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_a_layer_of_ones_own_may_have_a_kernel_size_of_any_kind() -> None:
    def convolved(x: Any) -> Any:
        own = Doubled(name="own")
        own.kernel_size = 3
        return layers.ReLU()(layers.Conv2D(4, 3, name="conv")(own(x)))

    model = network((6, 6), 3, convolved, accelerated=False)
    set_precision(model, "bfloat16")
    assert model.get_layer("own").compute_dtype == "float32"
    assert model.get_layer("conv").compute_dtype == "bfloat16"


def test_a_step_in_bfloat16_is_that_of_float32_except_for_its_digits() -> None:
    maps = random_maps(8, 6, 6, 3)
    exact, short = (network((6, 6), 3, photographed, accelerated=False) for _ in range(2))
    set_precision(short, "bfloat16")
    for model in (exact, short):
        accelerate(model)
    for one, other in zip(step(exact, maps), step(short, maps), strict=True):
        assert other.dtype == "float32"
        difference = np.linalg.norm(other - one) / np.linalg.norm(one)
        assert 0 < difference < 0.15  # each number on the way has 8 significant bits, and a few ReLUs fall otherwise
    for one, other in zip(exact.non_trainable_variables, short.non_trainable_variables, strict=True):
        np.testing.assert_allclose(other, one, rtol=0.02, atol=0.002)


@pytest.mark.parametrize(
    ("edge", "kernel", "share", "dtype"),
    [(1, 5, 1.0, "float32"), (5, 5, 1.0, "bfloat16"), (6, 5, 0.7, "float32"), (1, 1, 1.0, "bfloat16")],
)
def test_a_kernel_that_may_be_larger_than_its_maps_stays_exact(
    edge: int, kernel: int, share: float, dtype: str
) -> None:
    def convolved(x: Any) -> Any:
        return layers.ReLU()(layers.Conv2D(8, kernel, padding="same", name="conv")(x))

    model = network((edge, edge), 3, convolved, accelerated=False)
    set_precision(model, "bfloat16", share)
    assert model.get_layer("conv").compute_dtype == dtype
    set_precision(model, "float32")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_places_of_a_kernel_that_meet_no_value_have_no_gradient_in_bfloat16() -> None:
    def convolved(x: Any) -> Any:
        return layers.ReLU()(layers.Conv2D(512, 5, padding="same")(layers.Conv2D(256, 1)(x)))

    model = network((1, 1), 3, convolved, accelerated=False)
    set_precision(model, "bfloat16")
    maps = random_maps(32, 1, 1, 3)
    for _ in range(3):  # where it is taken from memory, that need not be zero the next time
        (gradient,) = (part for part in step(model, maps) if part.shape == (5, 5, 256, 512))
        met = np.zeros((5, 5), bool)
        met[2, 2] = True
        assert not np.any(gradient[~met])
        assert np.any(gradient[met])


def test_a_normalisation_in_bfloat16_is_one_operation() -> None:
    model = network((6, 6), 3, photographed, accelerated=False)
    set_precision(model, "bfloat16")
    accelerate(model)
    graph = tf.function(step).get_concrete_function(model, random_maps(2, 6, 6, 3)).graph
    fused = [operation for operation in graph.get_operations() if operation.type == "FusedBatchNormV3"]
    assert [operation.get_attr("T") for operation in fused] == [tf.bfloat16]


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16"])
def test_a_type_of_a_layers_own_stays(dtype: str) -> None:
    model = network((6, 6), 3, lambda x: layers.ReLU()(layers.Conv2D(4, 1, dtype=dtype)(x)), accelerated=False)
    for precision in ("bfloat16", "float32"):
        set_precision(model, precision)
        assert model.layers[1].dtype_policy.name == dtype
