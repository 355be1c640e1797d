"""Faster operations in training steps, beside those of Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.networks.acceleration import accelerate, set_precision

keras, tf = backend.keras(), backend.tensorflow()
layers = keras.layers

Build = Callable[[Any], Any]

AVX512_BF16 = frozenset({"avx2", "avx512f", "avx512_bf16"})

AMX = AVX512_BF16 | {"amx_bf16"}

LARGE, SMALL = (40, 30), (14, 14)

IN_BFLOAT16 = [
    (LARGE, 192, 3, AVX512_BF16, True),
    (LARGE, 64, 1, AVX512_BF16, True),
    (LARGE, 191, 3, AVX512_BF16, False),
    (LARGE, 64, 1, AMX, True),
    (SMALL, 512, 3, AMX, False),
    (LARGE, 192, 3, frozenset({"avx2"}), False),
    (LARGE, 64, 1, frozenset({"avx2", "avx512f"}), False),
]
"""Maps, channels, kernel, processor, and whether its gradient is a product of matrices."""


@pytest.fixture(autouse=True)
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor on which all of these operations pay, whatever this one is."""
    monkeypatch.setattr(backend, "cpu_flags", lambda: frozenset({"avx2"}))


def network(size: tuple[int, int], channels: int, build: Build, *, accelerated: bool) -> Any:
    """``build``'s layers on maps of that size, with the same weights each time."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((*size, channels))
    model = keras.Model(inputs, build(inputs))
    if accelerated:
        accelerate(model)
    return model


def step(model: Any, inputs: Any) -> tuple[Any, ...]:
    """Outputs in training and all gradients of a loss."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = model(inputs, training=True)
        loss = tf.reduce_sum(outputs * tf.sin(outputs))
    return (outputs, *tape.gradient(loss, [inputs, *[variable.value for variable in model.trainable_variables]]))


def random_maps(*shape: int) -> Any:
    return tf.random.stateless_normal(shape, seed=(1, 2))


def both(size: tuple[int, int], channels: int, build: Build) -> tuple[set[str], set[str]]:
    """The operations of a step as Keras traces it and as we do; outputs and gradients must be the same."""
    maps = random_maps(1, *size, channels)
    models = [network(size, channels, build, accelerated=faster) for faster in (False, True)]
    steps = [tf.function(step).get_concrete_function(model, maps) for model in models]
    assert_same(*(list(traced(maps)) for traced in steps))
    plain, ours = ({operation.type for operation in traced.graph.get_operations()} for traced in steps)
    return plain, ours


def assert_same(expected: list[Any], found: list[Any]) -> None:
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        scale = float(np.abs(one).max())
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "kernel", "strides"),
    [
        ((24, 24), 1, 1),
        ((24, 20), 3, 1),
        ((61, 40), 3, 2),
        ((60, 41), (3, 2), (2, 1)),
        ((40, 40), (1, 7), 1),
        ((40, 40), (7, 1), 1),
        ((51, 51), 2, 2),
        ((68, 67), 2, 3),
    ],
)
def test_gradients_of_a_convolution_are_those_of_keras(
    size: tuple[int, int], kernel: Any, strides: Any, padding: str
) -> None:
    def build(x: Any) -> Any:
        return layers.Conv2D(128, kernel, strides, padding, activation="relu", bias_initializer="normal")(x)

    plain, ours = both(size, 128, build)
    assert "Conv2DBackpropFilter" in plain
    assert "Conv2DBackpropFilter" not in ours


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (128, {"kernel_size": 5}),
        (128, {"kernel_size": 3, "groups": 2}),
        (128, {"kernel_size": 3, "dilation_rate": 2}),
        (128, {"kernel_size": 1, "strides": 2}),
        (16, {"kernel_size": 3}),
        (3, {"kernel_size": 3}),
    ],
)
def test_other_convolutions_stay_as_they_are(channels: int, options: dict[str, Any]) -> None:
    plain, ours = both((24, 24), channels, layers.Conv2D(128, **options))
    assert plain == ours


def test_with_avx512_the_gradient_of_a_kernel_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "cpu_flags", lambda: AVX512_BF16)
    plain, ours = both((24, 24), 192, layers.Conv2D(192, 3))
    assert plain == ours


@pytest.mark.parametrize(("size", "channels", "kernel", "flags", "multiplied"), IN_BFLOAT16)
def test_gradients_in_bfloat16_are_about_those_in_float32(
    size: tuple[int, int],
    channels: int,
    kernel: int,
    flags: frozenset[str],
    multiplied: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "cpu_flags", lambda: flags)

    def build(x: Any) -> Any:
        x = layers.Conv2D(channels, kernel, padding="same", activation="relu", bias_initializer="normal")(x)
        return layers.Activation("linear")(x)

    exact, model = (network(size, channels, build, accelerated=False) for _ in range(2))
    set_precision(model, "bfloat16")
    accelerate(model)
    maps = random_maps(8, *size, channels)
    traced = tf.function(step).get_concrete_function(model, maps)
    assert_near(step(exact, maps), traced(maps))
    assert ("Conv2DBackpropFilter" in {found.type for found in traced.graph.get_operations()}) is not multiplied


def test_gradients_of_a_dense_layer_in_bfloat16_are_about_those_in_float32() -> None:
    def build(x: Any) -> Any:
        return layers.Activation("linear")(layers.Dense(24, activation="relu", bias_initializer="ones")(x))

    exact, model = (network((40, 30), 8, build, accelerated=False) for _ in range(2))
    set_precision(model, "bfloat16")
    accelerate(model)
    maps = random_maps(8, 40, 30, 8)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert_near(step(exact, maps), tf.function(step)(model, maps))


def assert_near(expected: Any, found: Any) -> None:
    """As near as 8 bits of precision in each of a few operations let them be."""
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        error, scale = np.linalg.norm(np.asarray(one) - other), np.linalg.norm(one)
        assert error <= 0.02 * scale


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


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"axis": 3, "epsilon": 1e-5}])
def test_a_batch_normalisation_is_that_of_keras(options: dict[str, Any]) -> None:
    maps = random_maps(3, 7, 5, 6) * 3 + 2
    models = [network((7, 5), 6, layers.BatchNormalization(**options), accelerated=faster) for faster in (False, True)]
    expected, found = (list(step(model, maps)) for model in models)
    assert_same(expected, found)
    statistics = [[variable.numpy() for variable in model.non_trainable_variables] for model in models]
    assert_same(*statistics)
    assert np.abs(statistics[1][0]).max() > 0.01  # the step has moved them
    assert_same(*[[model(maps, training=False)] for model in models])
    graph = tf.function(step).get_concrete_function(models[1], maps).graph
    assert "FusedBatchNormGradV3" in {operation.type for operation in graph.get_operations()}


def test_a_single_value_has_no_variance() -> None:
    maps = random_maps(1, 1, 1, 6)
    models = [network((1, 1), 6, layers.BatchNormalization(), accelerated=faster) for faster in (False, True)]
    assert_same(*(list(step(model, maps)) for model in models))
    assert_same(*[[variable.numpy() for variable in model.non_trainable_variables] for model in models])


@pytest.mark.parametrize("options", [{"axis": 1}, {"axis": 2}, {"synchronized": True}, {"dtype": "mixed_float16"}])
def test_other_normalisations_stay_as_they_are(options: dict[str, Any]) -> None:
    plain, ours = both((7, 5), 6, layers.BatchNormalization(**options))
    assert plain == ours


def test_a_renormalisation_stays_as_it_is() -> None:
    model = network((7, 5), 6, layers.BatchNormalization(renorm=True), accelerated=True)
    graph = tf.function(step).get_concrete_function(model, random_maps(1, 7, 5, 6)).graph
    assert "FusedBatchNormV3" not in {operation.type for operation in graph.get_operations()}


def test_a_normalisation_of_vectors_stays_as_it_is() -> None:
    plain, ours = both((7, 5), 6, lambda x: layers.BatchNormalization()(layers.Flatten()(x)))
    assert plain == ours


def test_frozen_statistics_stay_what_they_are() -> None:
    maps = random_maps(3, 7, 5, 6) * 3 + 2
    model = network((7, 5), 6, layers.BatchNormalization(trainable=False), accelerated=True)
    np.testing.assert_allclose(model(maps, training=True), maps / np.sqrt(1 + 1e-3), rtol=1e-5)
    np.testing.assert_array_equal(model.layers[-1].moving_mean, np.zeros(6))


def test_a_convolution_used_twice_stays_as_it_is() -> None:
    def build(x: Any) -> Any:
        twice = layers.Conv2D(6, 1)
        return twice(twice(x))

    plain, ours = both((7, 5), 6, build)
    assert plain == ours


def test_what_is_saved_is_a_keras_network(tmp_path: Any) -> None:
    def build(x: Any) -> Any:
        return layers.BatchNormalization()(layers.Conv2D(8, 1)(x))

    model = network((7, 5), 6, build, accelerated=True)
    model.save(tmp_path / "model.keras")
    maps = random_maps(3, 7, 5, 6)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(maps), model(maps))
    assert type(loaded.layers[-1]) is layers.BatchNormalization


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
