"""Faster operations in training steps, beside those of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.networks import acceleration
from cnn_registry.networks.acceleration import Products, accelerate
from cnn_registry.networks.precision import set_precision
from tests.networks.conftest import Build, network, random_maps, step

keras, tf = backend.keras(), backend.tensorflow()
layers = keras.layers

AVX512_BF16 = frozenset({"avx2", "avx512f", "avx512_bf16"})

AMX = AVX512_BF16 | {"amx_bf16"}

LARGE, SMALL, SMALLEST = (40, 30), (14, 14), (4, 4)

IN_BFLOAT16 = [
    (LARGE, 192, 3, AVX512_BF16, True),
    (LARGE, 64, 1, AVX512_BF16, True),
    (LARGE, 191, 3, AVX512_BF16, False),
    (LARGE, 64, 1, AMX, True),
    (SMALL, 512, 3, AMX, True),
    (SMALL, 256, 3, AMX, False),
    (SMALLEST, 96, 3, AMX, True),
    (SMALLEST, 64, 3, AMX, False),
    (LARGE, 192, 3, frozenset({"avx2"}), False),
    (LARGE, 64, 1, frozenset({"avx2", "avx512f"}), False),
]
"""Maps, channels, kernel, processor, and whether its gradient is a product of matrices."""


@pytest.fixture(autouse=True)
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor on which all of these operations pay, whatever this one is."""
    monkeypatch.setattr(backend, "cpu_flags", lambda: frozenset({"avx2"}))


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


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "kernel", "strides"),
    [((14, 14), 3, 1), ((3, 3), 3, 1), ((13, 8), (3, 2), (2, 1)), ((8, 9), (1, 7), 1), ((9, 7), 2, 3), ((7, 6), 3, 2)],
)
def test_gradients_of_a_convolution_of_small_maps_are_those_of_keras(
    size: tuple[int, int], kernel: Any, strides: Any, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(acceleration.FASTER, "avx2", Products("float32", channels=1))
    plain, ours = both(size, 5, lambda x: layers.Conv2D(7, kernel, strides, padding)(x))
    assert "Conv2DBackpropFilter" in plain
    assert "GatherV2" in ours
    assert "Conv2DBackpropFilter" not in ours


@pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "same"), (2, "valid")])
def test_gradients_of_a_convolution_are_those_of_keras_for_maps_of_any_size(
    strides: int, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(acceleration.FASTER, "avx2", Products("float32", channels=1))
    models = [
        network((8, 8), 5, lambda x: layers.Conv2D(7, 3, strides, padding)(x), accelerated=faster)
        for faster in (False, True)
    ]
    for model in models:
        model.input_spec = None
    maps = tf.TensorSpec((None, None, None, 5))
    plain, ours = (tf.function(step).get_concrete_function(model, maps) for model in models)
    assert "Conv2DBackpropFilter" not in {operation.type for operation in ours.graph.get_operations()}
    for size in ((8, 8), (7, 12)):
        assert_same(*(list(traced(random_maps(2, *size, 5))) for traced in (plain, ours)))


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
    """As near as 8 bits of precision let them be, also where partial sums are rounded to them."""
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        error, scale = np.linalg.norm(np.asarray(one) - other), np.linalg.norm(one)
        assert error <= 0.03 * scale


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
