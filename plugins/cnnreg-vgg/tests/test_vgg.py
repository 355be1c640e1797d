import math
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model, get_spec, list_models
from cnn_registry.blocks import NearIdentity
from cnn_registry.errors import InputShapeError

# Trainable, non-trainable with 1000 classes (torchvision's own counts), and all with 17.
PARAMS = {
    "vgg11": (132_863_336, 0, 128_835_985),
    "vgg11_bn": (132_868_840, 5_504, 128_846_993),
    "vgg13": (133_047_848, 0, 129_020_497),
    "vgg13_bn": (133_053_736, 5_888, 129_032_273),
    "vgg16": (138_357_544, 0, 134_330_193),
    "vgg16_bn": (138_365_992, 8_448, 134_347_089),
    "vgg19": (143_667_240, 0, 139_639_889),
    "vgg19_bn": (143_678_248, 11_008, 139_661_905),
}
NAMES = pytest.mark.parametrize("name", PARAMS)


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


@cache
def described(name: str, **arguments: Any) -> Any:
    """The model with the shapes of its weights but without their memory, built once for all tests: do not change it."""
    with keras.StatelessScope(initialize_variables=False):
        return create_model(name, **arguments)


def count(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def test_all_are_listed() -> None:
    assert set(PARAMS) <= set(list_models("vgg*"))


@NAMES
def test_parameters_are_as_declared(name: str) -> None:
    spec, model = get_spec(name), described(name)
    trainable, non_trainable, _ = PARAMS[name]
    assert model.input_shape == (None, *spec.input_shape)
    assert count(model.trainable_weights) == spec.trainable_params == trainable
    assert count(model.non_trainable_weights) == spec.non_trainable_params == non_trainable


@NAMES
def test_parameters_with_17_classes(name: str) -> None:
    assert described(name, num_classes=17).count_params() == PARAMS[name][2]


@NAMES
def test_depth_is_the_number_of_layers_with_weights(name: str) -> None:
    weighted = [layer for layer in described(name).layers if hasattr(layer, "kernel")]
    assert len(weighted) == int(name.removesuffix("_bn").removeprefix("vgg"))


@NAMES
def test_model_bears_its_name_and_docstring(name: str) -> None:
    assert described(name).name == name
    assert (get_spec(name).build.__doc__ or "").startswith("Build")


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_other_inputs_give_probabilities(name: str) -> None:
    model = create_model(name, num_classes=5, input_shape=(32, 40, 1))
    images = np.random.default_rng(0).uniform(size=(2, 32, 40, 1)).astype("float32")
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (2, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@NAMES
def test_smallest_input_is_as_declared(name: str) -> None:
    assert described(name, input_shape=(32, 32, 3)).get_layer("block5_pool").output.shape[1:3] == (1, 1)
    with pytest.raises(InputShapeError, match=rf"^{name} needs images of at least 32x32 pixels; got 224x31\.$"):
        described(name, input_shape=(224, 31, 3))


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_options_reach_the_layers(name: str) -> None:
    model = described(name, dropout=0.3, kernel_initializer="he_uniform", classifier_activation=None)
    assert [model.get_layer(f"{layer}_dropout").rate for layer in ("fc6", "fc7")] == [0.3, 0.3]
    assert model.get_layer("predictions").activation is keras.activations.linear
    hidden = [layer for layer in model.layers if hasattr(layer, "kernel") and layer.name != "predictions"]
    assert len(hidden) == 10
    assert all(isinstance(layer.kernel_initializer, keras.initializers.HeUniform) for layer in hidden)
    assert isinstance(model.get_layer("predictions").kernel_initializer, keras.initializers.GlorotUniform)


def test_convolutions_are_alike_with_and_without_normalisation() -> None:
    def convolutions(name: str) -> list[Any]:
        layers = described(name, input_shape=(32, 32, 3)).layers
        convs = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
        return [(conv.name, *(weight.shape for weight in conv.weights)) for conv in convs]

    assert convolutions("vgg13") == convolutions("vgg13_bn")


def test_normalisation_comes_before_the_relu() -> None:
    model = described("vgg11_bn", input_shape=(32, 32, 3))
    names = [layer.name for layer in model.layers[1:5]]
    assert names == ["block1_conv1", "block1_conv1_bn", "block1_conv1_relu", "block1_pool"]
    assert model.get_layer("block1_conv1_bn").momentum == 0.9


@pytest.mark.parametrize("name", ["vgg11", "vgg16"])
def test_default_recipe_starts_the_plain_ones_near_the_identity(name: str) -> None:
    settings = get_spec(name).recipe_settings["default"]
    options = {key.removeprefix("model."): value for key, value in settings.items() if key.startswith("model.")}
    model = described(name, input_shape=(32, 32, 3), **options)
    hidden = [layer for layer in model.layers if hasattr(layer, "kernel") and layer.name != "predictions"]
    assert {type(layer.kernel_initializer) for layer in hidden} == {NearIdentity}


def test_only_plain_ones_lower_the_rate_of_the_default_recipe() -> None:
    plain, normalised = (get_spec(name).recipe_settings["default"] for name in ("vgg16", "vgg16_bn"))
    assert "optimizer.learning_rate" in plain
    assert not {"optimizer.learning_rate", "model.kernel_initializer"} & set(normalised)


def test_declaring_does_not_import_keras() -> None:
    code = "import sys, cnnreg_vgg; print({'keras', 'tensorflow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
