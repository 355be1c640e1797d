"""Parts of networks: what is cut away is never made, and sizes may be left open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnn_registry import Feature, ModelSpec, Paper, backend
from cnn_registry.backend import keras_internals
from cnn_registry.errors import InputShapeError, ModelBuildError
from cnn_registry.networks.build import build_graph, build_model
from cnn_registry.registry.spec import Provider

keras = backend.keras()
layers = keras.layers

SHAPE = (12, 12, 3)


def spec(build: Callable[..., Any], **features: str) -> ModelSpec:
    return ModelSpec(
        name="net",
        summary="A network",
        build=build,
        provider=Provider("tests:net"),
        paper=Paper("t", "a", 2020, "u"),
        family="tiny",
        input_shape=SHAPE,
        min_size=4,
        trainable_params=1,
        features={name: Feature(layer, (6, 6, 4)) for name, layer in (features or {"stride2": "pool"}).items()},
    )


made: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    made.clear()


def top_kernel(shape: Any, dtype: Any = None) -> Any:
    made.append("top")
    return keras.ops.ones(shape, dtype)


def body(inputs: Any) -> Any:
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    return layers.MaxPooling2D(2, name="pool")(x)


def flattening(input_shape: Any, num_classes: int) -> Any:
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(body(inputs))
    x = layers.Dense(num_classes, kernel_initializer=top_kernel, name="predictions")(layers.Dropout(0.5)(x))
    return keras.Model(inputs, x, name="net")


def averaging(input_shape: Any, num_classes: int) -> Any:
    inputs = keras.Input(input_shape)
    x = layers.GlobalAveragePooling2D()(body(inputs))
    return keras.Model(inputs, layers.Dense(num_classes, kernel_initializer=top_kernel)(x), name="net")


def images(height: int = 12, width: int = 12) -> Any:
    return np.random.default_rng(0).random((2, height, width, 3), np.float32)


# --- the rest is not made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part", [{"include_top": False}, {"include_top": False, "pooling": "avg"}, {"features": ["stride2"]}]
)
def test_what_is_cut_away_is_never_made(part: dict[str, Any]) -> None:
    model = build_model(spec(flattening), **part)
    with keras.StatelessScope():
        pass  # at its end, Keras makes every variable that waits
    assert made == []
    assert model.count_params() == 4 * 3 * 9 + 4 + 4 * 4
    build_model(spec(flattening))
    assert made == ["top"]


def test_a_part_starts_as_the_whole_does() -> None:
    keras.utils.set_random_seed(0)
    whole = build_model(spec(flattening))
    keras.utils.set_random_seed(0)
    part = build_model(spec(flattening), include_top=False)
    for layer in part.layers:
        if layer.weights:
            for ours, theirs in zip(layer.get_weights(), whole.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_a_part_can_be_trained_and_saved(tmp_path: Path) -> None:
    model = build_model(spec(flattening), include_top=False, pooling="avg")
    model.compile("sgd", "mse")
    before = model.get_layer("conv").get_weights()[0]
    model.fit(images(), np.ones((2, 4)), verbose=0)
    assert not np.array_equal(model.get_layer("conv").get_weights()[0], before)
    model.save(tmp_path / "part.keras")
    loaded = keras.saving.load_model(tmp_path / "part.keras")
    np.testing.assert_allclose(np.asarray(loaded(images())), np.asarray(model(images())), rtol=1e-5)


def test_a_builder_that_makes_a_variable_itself(tmp_path: Path) -> None:
    def own_variable(input_shape: Any, num_classes: int) -> Any:
        network = flattening(input_shape, num_classes)
        network.own = keras.Variable(np.ones(3))
        return network

    assert build_model(spec(own_variable), include_top=False).count_params() == 128


def test_values_that_a_builder_sets_stay() -> None:
    def set_values(input_shape: Any, num_classes: int) -> Any:
        network = flattening(input_shape, num_classes)
        network.get_layer("conv").set_weights([np.full((3, 3, 3, 4), 0.5), np.full(4, 2.0)])
        return network

    kernel, bias = build_model(spec(set_values), include_top=False).get_layer("conv").get_weights()
    assert (kernel.min(), kernel.max(), bias.min(), bias.max()) == (0.5, 0.5, 2, 2)


def test_a_variable_that_keras_does_not_see_is_made() -> None:
    class Hidden(layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no types
        def build(self, input_shape: Any) -> None:
            noise = keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(0))
            self.hidden = SimpleNamespace(noise=keras.Variable(noise, shape=(1,)))

        def call(self, inputs: Any) -> Any:
            return inputs + self.hidden.noise

    def hiding(input_shape: Any, num_classes: int) -> Any:
        inputs = keras.Input(input_shape)
        x = layers.Activation("linear", name="pool")(Hidden()(inputs))
        return keras.Model(inputs, layers.Dense(num_classes)(layers.GlobalAveragePooling2D()(x)))

    model = build_model(spec(hiding), include_top=False)
    np.testing.assert_array_equal(np.asarray(model(images())), np.asarray(model(images())))


def test_where_keras_works_otherwise_the_part_is_cut_out_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_internals.waiting, "_waiting", list)  # as if nothing was known of variables that wait
    keras_internals.variables_can_wait.cache_clear()
    try:
        model = build_model(spec(flattening), include_top=False)
    finally:
        keras_internals.variables_can_wait.cache_clear()
    assert (made, model.output_shape) == (["top"], (None, 6, 6, 4))
    np.testing.assert_array_equal(np.asarray(model(images())), np.asarray(model(images())))


def test_a_graph_leaves_nothing_to_be_made() -> None:
    graph = build_graph(spec(flattening), num_classes=10)
    with keras.StatelessScope():
        pass
    assert made == []
    assert graph.output_shape == (None, 10)
    assert build_graph(spec(flattening), include_top=False).output_shape == (None, 6, 6, 4)


# --- networks that cannot be cut ---------------------------------------------------------------------------------


def test_a_feature_of_a_layer_that_does_not_exist() -> None:
    with pytest.raises(ModelBuildError, match=r"^net could not be built without its top: ValueError: No such layer"):
        build_model(spec(flattening, stride2="pol"), include_top=False)
    with pytest.raises(ModelBuildError, match=r"^net could not be built for its features: ValueError: No such"):
        build_model(spec(flattening, stride2="pol"), features=["stride2"])


def test_a_subclassed_model_has_no_part() -> None:
    class Subclassed(keras.Model):  # type: ignore[misc, name-defined]  # as above
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.pool, self.dense = layers.GlobalAveragePooling2D(), layers.Dense(num_classes)

        def call(self, inputs: Any) -> Any:
            return self.dense(self.pool(inputs))

    def subclassed(input_shape: Any, num_classes: int) -> Any:
        return Subclassed(num_classes)

    assert build_model(spec(subclassed), num_classes=7)(images()).shape == (2, 7)
    with pytest.raises(ModelBuildError, match="could not be built without its top: its builder returned a subclassed"):
        build_model(spec(subclassed), include_top=False)


# --- images of any size ------------------------------------------------------------------------------------------

OPEN = (None, None, 3)


def test_a_network_that_averages_takes_any_size() -> None:
    model = build_model(spec(averaging), num_classes=5, input_shape=OPEN)
    assert (model.input_shape, model.output_shape) == ((None, *OPEN), (None, 5))
    assert model(images(20, 8)).shape == (2, 5)


def test_a_network_that_flattens_takes_any_size_without_its_top() -> None:
    model = build_model(spec(flattening), input_shape=OPEN, include_top=False)
    assert (model.name, model.input_shape, model.output_shape) == ("net", (None, *OPEN), (None, None, None, 4))
    assert model(images(20, 8)).shape == (2, 10, 4, 4)
    assert model.get_layer("conv").output.shape == (None, None, None, 4)
    assert made == []


@pytest.mark.parametrize(("shape", "output"), [((None, 8, 3), (None, None, 4, 4)), ((16, None, 3), (None, 8, None, 4))])
def test_one_size_may_be_left_open(shape: Any, output: Any) -> None:
    assert build_model(spec(flattening), input_shape=shape, include_top=False).output_shape == output


def test_features_of_any_size() -> None:
    features = {"stride1": "conv", "stride2": "pool"}
    model = build_model(spec(flattening, **features), input_shape=OPEN, features=["stride2", "stride1"])
    outputs = model(images(20, 8))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "stride2": (2, 10, 4, 4),
        "stride1": (2, 20, 8, 4),
    }


def test_a_network_that_flattens_refuses_any_size_with_its_top() -> None:
    with pytest.raises(ModelBuildError, match=r"=\(None, None, 3\).* name a height and a width\.\)$") as caught:
        build_model(spec(flattening), input_shape=OPEN)
    assert "\n" not in str(caught.value)


def test_layers_that_depend_on_the_size_are_refused() -> None:
    def padding(input_shape: Any, num_classes: int) -> Any:
        inputs = keras.Input(input_shape)
        x = layers.ZeroPadding2D(((0, 12 % input_shape[0]), (0, 0)), name="pool")(inputs)
        return keras.Model(inputs, layers.Dense(num_classes)(layers.Flatten()(x)))

    with pytest.raises(ModelBuildError, match=r"its layers depend on the size of the images\. Name a height"):
        build_model(spec(padding), input_shape=OPEN, include_top=False)


def test_layers_that_cannot_be_made_again_are_refused() -> None:
    class Unsaved(layers.Layer):  # type: ignore[misc, name-defined]  # as above
        def __init__(self, factor: float) -> None:
            super().__init__(name="pool")
            self.factor = np.float32(factor)

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

        def get_config(self) -> dict[str, Any]:
            return dict(super().get_config())

    def unsaved(input_shape: Any, num_classes: int) -> Any:
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layers.Dense(num_classes)(layers.Flatten()(Unsaved(2)(inputs))))

    with pytest.raises(ModelBuildError, match=r"net could not be built for input_shape=\(None, None, 3\): TypeError"):
        build_model(spec(unsaved), input_shape=OPEN, include_top=False)


@pytest.mark.parametrize(
    "shape", [(None, None, None), (None, 8), (None, 0, 3), (None, 3, 3), (None, 8.0, 3), (None, 8, 0)]
)
def test_other_shapes_are_refused(shape: Any) -> None:
    with pytest.raises(InputShapeError):
        build_model(spec(averaging), input_shape=shape)


@pytest.mark.parametrize("saved", ["part", "whole"])
def test_weights_of_one_size_fit_any(tmp_path: Path, saved: str) -> None:
    trained = build_model(spec(flattening), include_top=saved == "whole")
    file = tmp_path / "saved.weights.h5"
    trained.save_weights(file)
    model = build_model(spec(flattening), input_shape=OPEN, include_top=False, weights=file)
    expected = keras.Model(*trained.inputs, trained.get_layer("pool").output)
    np.testing.assert_allclose(np.asarray(model(images())), np.asarray(expected(images())), rtol=1e-5, atol=1e-6)
