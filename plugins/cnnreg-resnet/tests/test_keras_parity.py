"""The networks are those of ``keras.applications``: the same weights give the same numbers."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model, get_spec

pytestmark = pytest.mark.slow

THEIRS = {
    "resnet50": keras.applications.ResNet50,
    "resnet152": keras.applications.ResNet152,
    "resnet50_v2": keras.applications.ResNet50V2,
    "resnet152_v2": keras.applications.ResNet152V2,
}
SIZE, CLASSES = 64, 5


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)


def randomise(model: Any) -> None:
    """Give every bias, scale, shift and moving statistic a value of its own, near what a trained network has."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if len(variable.shape) == 1:
            low, high = (0.5, 1.5) if variable.name in ("gamma", "moving_variance") else (-0.1, 0.1)
            variable.assign(rng.uniform(low, high, variable.shape))


def with_weights(model: Any) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


@pytest.mark.parametrize("name", ["resnet50", "resnet50_v2"])
def test_same_weights_give_the_same_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.set_random_seed(0)
    theirs = THEIRS[name](weights=None, classes=CLASSES, input_shape=(SIZE, SIZE, 3))
    randomise(theirs)
    monkeypatch.setattr(f"keras.applications.{THEIRS[name].__name__}", lambda weights: theirs)
    ours = create_model(name, num_classes=CLASSES, input_shape=(SIZE, SIZE, 3), weights="keras:imagenet")
    names = get_spec(name).weights["keras:imagenet"].names()
    for layer in with_weights(ours):
        if isinstance(layer, keras.layers.BatchNormalization):
            their_norm = theirs.get_layer(names[layer.name])
            their_norm.momentum = layer.momentum
            # Theirs is 1.001e-5 throughout, ours torchvision's in V1. A hundred layers that normalise over few values
            # make that visible.
            assert their_norm.epsilon == pytest.approx(layer.epsilon, rel=2e-3)
            their_norm.epsilon = layer.epsilon

    images = np.random.default_rng(1).normal(size=(4, SIZE, SIZE, 3)).astype("float32")
    for training in (False, True):
        expected = np.asarray(theirs(images, training=training))
        assert expected.std(axis=0).max() > 1e-3  # the images matter
        np.testing.assert_allclose(np.asarray(ours(images, training=training)), expected, rtol=0, atol=1e-5)
    # The step in training mode has moved the statistics.
    for layer in with_weights(ours):
        for mine, their in zip(layer.weights, theirs.get_layer(names[layer.name]).weights, strict=True):
            np.testing.assert_allclose(mine.numpy(), their.numpy(), rtol=1e-5, atol=1e-5, err_msg=mine.path)


@pytest.mark.parametrize("name", ["resnet152", "resnet152_v2"])  # the same builder makes those of 101 layers
def test_deeper_ones_have_the_same_layers(name: str) -> None:
    """Units compute the same, as seen above; here there are as many, of the same widths, with the strides in place."""
    published = get_spec(name).weights["keras:imagenet"]
    with keras.StatelessScope(initialize_variables=False):
        ours = create_model(name, num_classes=CLASSES, input_shape=(SIZE, SIZE, 3), **published.options)
        theirs = THEIRS[name](weights=None, classes=CLASSES, input_shape=(SIZE, SIZE, 3))
    names = published.names()
    assert {names[layer.name] for layer in with_weights(ours)} == {layer.name for layer in with_weights(theirs)}
    for layer in with_weights(ours):
        their_layer = theirs.get_layer(names[layer.name])
        assert type(layer) is type(their_layer)
        assert layer.output.shape == their_layer.output.shape
        assert [weight.shape for weight in layer.weights] == [weight.shape for weight in their_layer.weights]
