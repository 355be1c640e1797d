import math
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model, get_spec
from cnn_registry.errors import InputShapeError, UnknownOptionError, UsageError


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


@cache
def described(**arguments: Any) -> Any:
    """The model with the shapes of its weights but without their memory, built once for all tests: do not change it."""
    with keras.StatelessScope(initialize_variables=False):
        return create_model("inception_v2", **arguments)


def count(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def of_type(model: Any, kind: type[Any]) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_parameters_are_as_declared() -> None:
    spec, model = get_spec("inception_v2"), described()
    assert model.input_shape == (None, *spec.input_shape)
    assert count(model.trainable_weights) == spec.trainable_params == 11_285_224
    assert count(model.non_trainable_weights) == spec.non_trainable_params == 20_032


def test_the_article_variant_adds_the_biases() -> None:
    assert count(described(variant="article").trainable_weights) == 11_295_240


@pytest.mark.parametrize(("variant", "params"), [("paper", 10_297_681), ("article", 10_307_697)])
def test_parameters_with_17_classes(variant: str, params: int) -> None:
    assert described(num_classes=17, variant=variant).count_params() == params


def test_found_by_the_papers_name_for_it() -> None:
    assert get_spec("bn_inception").name == "inception_v2"


@pytest.mark.parametrize(("variant", "shape"), [("paper", (64, 96, 3)), ("article", (1, 1, 1))])
def test_any_input_gives_probabilities(variant: str, shape: tuple[int, int, int]) -> None:
    model = create_model("inception_v2", num_classes=5, input_shape=shape, variant=variant)
    images = np.random.default_rng(0).uniform(size=(2, *shape)).astype("float32")
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (2, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(InputShapeError, match="three positive"):
        described(input_shape=(0, 224, 3))


def test_last_maps_are_32_times_smaller_than_the_input() -> None:
    assert described().get_layer("inception_5b_concat").output.shape == (None, 7, 7, 1024)
    assert described(input_shape=(97, 64, 3)).get_layer("inception_5b_concat").output.shape == (None, 4, 2, 1024)


def test_paper_variant_is_the_default() -> None:
    model = described()
    convs, norms = of_type(model, keras.layers.Conv2D), of_type(model, keras.layers.BatchNormalization)
    assert len(convs) == len(norms) == len(of_type(model, keras.layers.Activation)) == 69
    assert not any(conv.use_bias for conv in convs)
    assert {type(conv.kernel_initializer) for conv in convs} == {keras.initializers.HeNormal}
    assert {norm.momentum for norm in norms} == {0.9}


def test_article_variant() -> None:
    model = described(variant="article")
    convs, norms = of_type(model, keras.layers.Conv2D), of_type(model, keras.layers.BatchNormalization)
    assert len(convs) == len(norms) == 69
    assert not of_type(model, keras.layers.Activation)
    assert all(conv.use_bias and conv.activation is keras.activations.relu for conv in convs)
    assert {type(conv.kernel_initializer) for conv in convs} == {keras.initializers.GlorotUniform}
    assert {norm.momentum for norm in norms} == {0.99}


@pytest.mark.parametrize("variant", ["paper", "article"])
def test_dropout_and_activation_reach_the_classifier(variant: str) -> None:
    assert described(variant=variant).get_layer("dropout").rate == 0
    model = described(variant=variant, dropout=0.3, classifier_activation=None)
    assert model.get_layer("dropout").rate == 0.3
    assert model.get_layer("predictions").activation is keras.activations.linear


def test_unknown_variant_is_refused_in_one_line() -> None:
    with pytest.raises(
        UsageError, match=r"^variant must be 'paper' or 'article'; got 'papers'\. Did you mean 'paper'\?$"
    ):
        described(variant="papers")


def test_what_the_variant_determines_is_not_an_option() -> None:
    with pytest.raises(UnknownOptionError, match="It takes: classifier_activation, dropout, variant"):
        described(use_bias=True)


def test_model_bears_its_name() -> None:
    assert described().name == "inception_v2"


def test_declaring_does_not_import_keras() -> None:
    code = "import sys, cnnreg_inception; print({'keras', 'tensorflow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
