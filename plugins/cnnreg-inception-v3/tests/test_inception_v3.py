"""That it is the network of ``keras.applications``, and what its auxiliary head does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from cnnreg_inception_v3._weights import keras_names

from cnn_registry import create_model

pytestmark = pytest.mark.slow

SIZE = (107, 91)
SMALLEST = (75, 75, 3)
CONVOLUTIONS = [name for name in keras_names() if not name.endswith("_bn") and name != "predictions"]


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    keras.utils.clear_session(free_memory=False)
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


def weighted(model: Any) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


def randomise(model: Any) -> None:
    """Normalisations that do something: other offsets and statistics than those of a new layer."""
    random = np.random.default_rng(0)
    for layer in weighted(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])


def test_same_outputs_and_statistics_as_keras_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.set_random_seed(0)
    reference = keras.applications.InceptionV3(weights=None, input_shape=(*SIZE, 3), classes=7)
    randomise(reference)
    monkeypatch.setattr("keras.applications.InceptionV3", lambda weights: reference)
    model = create_model("inception_v3", num_classes=7, input_shape=(*SIZE, 3), weights="keras:imagenet", dropout=0)
    batch = images(3, *SIZE, 3)
    np.testing.assert_allclose(model(batch), reference(batch), atol=1e-5)

    for layer in weighted(reference):
        layer.momentum = 0.9  # ours; Keras' own is 0.99
    np.testing.assert_allclose(model(batch, training=True), reference(batch, training=True), atol=1e-5)
    for layer in weighted(model):
        for ours, other in zip(
            layer.get_weights(), reference.get_layer(keras_names()[layer.name]).get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-5, err_msg=layer.name)


@pytest.mark.parametrize(
    ("options", "trainable"),
    [
        ({}, 23_817_352),
        ({"scale": True}, 23_834_568),
        ({"scale": True, "aux_heads": True}, 27_161_264),
    ],
)
def test_parameters_of_the_forms(options: dict[str, Any], trainable: int) -> None:
    with keras.StatelessScope(initialize_variables=False):
        model = create_model("inception_v3", **options)
        assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == trainable


def test_averages_count_the_padding_if_asked_to() -> None:
    pools = []
    with keras.StatelessScope(initialize_variables=False):  # no layer between the two maps has weights
        for count_include_pad in (False, True):
            model = create_model("inception_v3", input_shape=SMALLEST, count_include_pad=count_include_pad)
            maps = model.get_layer("pool2").output
            pools.append(keras.Model(maps, model.get_layer("inception_a1_pool").output))
    only_pixels, with_zeros = (np.asarray(pool(images(1, *pool.input_shape[1:]))) for pool in pools)
    np.testing.assert_allclose(with_zeros[:, 1:-1, 1:-1], only_pixels[:, 1:-1, 1:-1], atol=1e-5)
    np.testing.assert_allclose(with_zeros[:, 0, 0], only_pixels[:, 0, 0] * 4 / 9, atol=1e-5)


@pytest.mark.parametrize(("size", "places"), [(75, 1), (299, 1), (400, 3)])
def test_the_head_takes_any_size(size: int, places: int) -> None:
    with keras.StatelessScope(initialize_variables=False):
        model = create_model("inception_v3", input_shape=(size, size, 3), num_classes=5, aux_heads=True)
    assert model.get_layer("aux_conv2").output.shape[1:] == (places, places, 768)
    assert model.output["aux"].shape == (None, 5)


@pytest.fixture(scope="module")
def headed() -> Any:
    """The network with its auxiliary head; its weights are whatever a test has left."""
    keras.utils.set_random_seed(0)
    return create_model("inception_v3", num_classes=5, input_shape=SMALLEST, aux_heads=True)


def test_the_heads_gradient_reaches_its_branch_and_the_trunk_below(headed: Any) -> None:
    model = headed
    kernels = {layer.name: layer.kernel for layer in model.layers if hasattr(layer, "kernel")}
    before = {name: np.array(kernel) for name, kernel in kernels.items()}
    # The main output has a loss of weight 0, so that whatever moves is moved by the head alone.
    model.compile(
        keras.optimizers.SGD(1.0),
        loss={"predictions": "categorical_crossentropy", "aux": "categorical_crossentropy"},
        loss_weights={"predictions": 0.0, "aux": 1.0},
        run_eagerly=True,
    )
    labels = np.eye(5, dtype="float32")[:2]
    model.train_on_batch(images(2, *SMALLEST), {"predictions": labels, "aux": labels})
    moved = {name for name, kernel in kernels.items() if not np.array_equal(kernel, before[name])}
    below = {name for name in CONVOLUTIONS if not name.startswith(("reduction_b", "inception_c"))}
    assert moved == below | {"aux_conv1", "aux_conv2", "aux"}


def test_weights_trained_with_the_head_fit_the_network_without(headed: Any, tmp_path: Path) -> None:
    randomise(headed)
    main = keras.Model(headed.input, headed.output["predictions"])
    main.save_weights(tmp_path / "main.weights.h5")
    plain = create_model("inception_v3", num_classes=5, input_shape=SMALLEST, weights=tmp_path / "main.weights.h5")
    batch = images(2, *SMALLEST)
    np.testing.assert_allclose(plain(batch), headed(batch)["predictions"], atol=1e-6)
