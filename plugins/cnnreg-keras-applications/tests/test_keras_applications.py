"""The networks are those of ``keras.applications``, under names that stay, with exact counts.

``make test-applications`` runs the conformance kit on all of them; here are two.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from cnnreg_keras_applications import ELSEWHERE, model_name
from cnnreg_keras_applications._families import FAMILIES
from cnnreg_keras_applications._table import TABLE

import cnn_registry.blocks  # noqa: F401  (prepares TensorFlow before Keras is imported)
from cnn_registry import create_model, get_spec
from cnn_registry.testing import MODEL_CHECKS, parametrize_with_checks

NAMES = [model_name(constructor) for constructor in FAMILIES]
SHORT = ["mobilenetv3small", "efficientnetb0"]
"""One that Keras builds without rescaling, and one whose rescaling is cut off."""

SMALL = [name for name in NAMES if get_spec(name).total_params < 100_000_000]
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)


def test_every_classifier_of_keras_is_declared() -> None:
    applications = keras.applications
    theirs = {name for name in dir(applications) if name[0].isupper() and callable(getattr(applications, name))}
    assert FAMILIES.keys() == TABLE.keys() == theirs, "add the network to _families.py, and run make_table.py"
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["entry-points"]["cnn_registry.models"]) == set(NAMES)


def test_a_short_name_finds_the_network_where_no_other_package_has_it() -> None:
    assert get_spec("resnet50").provider.distribution == "cnnreg-resnet"
    code = "import sys; from cnn_registry import get_spec; print(get_spec('resnet50').name, 'keras' in sys.modules)"
    only = os.environ | {"CNNREG_PLUGINS": "cnnreg-keras-applications"}
    done = subprocess.run([sys.executable, "-c", code], env=only, capture_output=True, text=True, check=True)
    assert done.stdout == "keras_resnet50 False\n"
    assert all(get_spec(model_name(name)).aliases == (name.lower(),) for name in ELSEWHERE)


@parametrize_with_checks(SHORT, only=["spec", "parameters", "macs", "no-lambda", "weights-table"])
def test_two_networks_are_what_the_table_says(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks(SHORT[:1], only=["features", "names"])
def test_the_names_of_layers_stay(check: Callable[[], None]) -> None:
    check()


def train_for(model: Any, images: np.ndarray) -> None:
    """Give biases, scales and shifts values of their own, and moving statistics those of the images.

    A Normalization, which Keras' weights files fill, gets ImageNet's mean and deviation.
    """
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if len(variable.shape) == 1:
            low, high = (0.5, 1.5) if variable.name == "gamma" else (-0.1, 0.1)
            variable.assign(random.uniform(low, high, variable.shape))
    momenta = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([MEAN, DEVIATION**2, np.zeros((), "int32")])
            layer.finalize_state()
        if isinstance(layer, keras.layers.BatchNormalization):
            momenta[layer], layer.momentum = layer.momentum, 0.0
    model(images, training=True)
    for layer, momentum in momenta.items():
        layer.momentum = momentum


def scaled(images: np.ndarray, pixels: str) -> np.ndarray:
    """Images from 0 to 255 in the form that a network of ours takes."""
    if pixels == "caffe":
        return np.asarray(images[..., ::-1] - [103.939, 116.779, 123.68], np.float32)
    if pixels == "imagenet":
        return np.asarray((images / 255 - MEAN) / DEVIATION, np.float32)
    return np.asarray(images / 127.5 - 1, np.float32)


OF_EACH_FAMILY = {
    id(FAMILIES[name]): name for name in reversed(list(FAMILIES)) if TABLE[name].trainable_params < 60_000_000
}
PARITY = [
    pytest.param(name, marks=() if name == "EfficientNetB0" else pytest.mark.applications)
    for name in [*OF_EACH_FAMILY.values(), "VGG16"]
]


@pytest.mark.parametrize("constructor", PARITY)
def test_the_weights_give_the_outputs_that_keras_gives(constructor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From pixels to probabilities, with Keras' rescaling there and the pixels of the declared weights here."""
    make = getattr(keras.applications, constructor)
    shape = (224, 224, 3) if constructor.startswith("VGG") else (96, 96, 3)
    keras.utils.set_random_seed(0)
    theirs = make(weights=None, input_shape=shape)
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 4, 3))
    images = coarse.repeat(shape[0] // 4, axis=1).repeat(shape[1] // 4, axis=2).astype("float32")
    seen = importlib.import_module(make.__module__).preprocess_input(images.copy())
    train_for(theirs, seen)

    def constructed(weights: str | None, **arguments: Any) -> Any:
        """What Keras' constructor returns, the network above being the trained one."""
        if weights and not arguments:
            return theirs
        network = make(weights=None, **arguments)
        if weights:
            network.set_weights(theirs.get_weights())
        return network

    monkeypatch.setattr(f"keras.applications.{constructor}", constructed)
    spec = get_spec(model_name(constructor))
    ours = create_model(spec.name, input_shape=shape, weights="keras:imagenet")
    expected = np.asarray(theirs(seen))
    assert np.abs(expected[0] - expected[1]).max() > 1e-4  # the images matter
    got = np.asarray(ours(scaled(images, spec.weights["keras:imagenet"].pixels)))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.applications
@parametrize_with_checks(NAMES, only=[check.name for check in MODEL_CHECKS if check.name != "trains"])
def test_all_networks_pass_the_kit(check: Callable[[], None]) -> None:
    check()


@pytest.mark.applications
@parametrize_with_checks(SMALL, only=["trains"], full=True)
def test_each_network_trains(check: Callable[[], None]) -> None:
    """Three steps of the default recipe; four networks of over 100 million parameters would need 10 GB and more."""
    check()
