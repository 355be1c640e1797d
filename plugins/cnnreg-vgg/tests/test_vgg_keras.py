"""VGG-16 and VGG-19 with the weights of keras.applications' give the same outputs."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)


@pytest.mark.parametrize("depth", [16, pytest.param(19, marks=pytest.mark.applications)])
def test_same_outputs_as_keras_applications(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.set_random_seed(0)
    shape, rng = (40, 32, 3), np.random.default_rng(0)
    reference = getattr(keras.applications, f"VGG{depth}")
    theirs = reference(weights=None, input_shape=shape, classes=7, classifier_activation=None)
    for layer in theirs.layers:
        if layer.weights:  # kernels that keep the activations' scale, and biases other than the zeros they start with
            kernel, bias = layer.weights
            fan_in = np.prod(kernel.shape[:-1])
            kernel.assign(rng.normal(scale=np.sqrt(2 / fan_in), size=kernel.shape))
            bias.assign(rng.normal(scale=0.1, size=bias.shape))
    monkeypatch.setattr(f"keras.applications.VGG{depth}", lambda weights: theirs)
    options: dict[str, Any] = {"classifier_activation": None, "dropout": 0}
    ours = create_model(f"vgg{depth}", input_shape=shape, num_classes=7, weights="keras:imagenet", **options)

    images = rng.normal(size=(3, *shape)).astype("float32")
    expected = np.asarray(theirs(images, training=False))
    assert expected.std() > 0.1
    np.testing.assert_allclose(ours(images, training=False), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours(images, training=True), theirs(images, training=True), rtol=1e-5, atol=1e-5)
