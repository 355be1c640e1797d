"""Tests for every model of the packages beside this file. `cnnreg check --all --full` runs every check on each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from cnn_registry import create_model, get_spec, list_models
from cnn_registry.testing import MODEL_CHECKS, parametrize_with_checks

PROJECTS = Path(__file__).parent.glob("cnnreg-*/pyproject.toml")
LARGE = {"cnnreg-keras-hub"}
"""Packages that bring a large library, so that they are installed by whoever wants them."""

PLUGINS = {path.parent.name for path in PROJECTS if "cnn_registry.models" in path.read_text(encoding="utf-8")} - LARGE
KERAS = "cnnreg-keras-applications"
"""Its forty networks are Keras' own; its tests check two of them, and ``make test-applications`` all."""

MODELS = [name for name in list_models() if get_spec(name).provider.distribution in PLUGINS - {KERAS}]


@contextmanager
def without_weights() -> Iterator[None]:
    """Build graphs in here without the memory and the time that weights take."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)


def test_every_plugin_is_installed_and_none_is_broken() -> None:
    assert {get_spec(name).provider.distribution for name in list_models()} >= PLUGINS


REPEATED = {
    *("vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    *("resnet34", "resnet101", "resnet152", "resnet101_v2", "resnet152_v2"),
    "inception_resnet_v2",
}
"""Models that have another's blocks more often, by the same builder: one graph of each is enough."""

DEEPEST = {"resnet101", "resnet152", "resnet101_v2", "resnet152_v2", "inception_resnet_v2"}
"""Those of them that take more than a second to build; ``make test-applications`` does."""

ONE_OF_EACH_TOP = ["alexnet", "lenet5", "vgg11", "resnet18", "inception_v1"]
OTHER_FAMILIES = ["resnet50_v2", "inception_v2", "inception_v3", "inception_resnet_v1"]
"""Their classifiers are that of ResNet, one dense layer behind the mean of each map."""

FORMS = {"names", "features", "smallest", "sizes", "classes", "channels", "options"}
"""Checks that build the network in several forms."""

ENDS = ["classes", "channels"]
"""Checks of what the first and the last layer depend on."""

DECLARED = [check.name for check in MODEL_CHECKS if check.cheap and check.name not in (*ENDS, "light-import")]
ONE_GRAPH = [name for name in DECLARED if name not in (*FORMS, "weights-table")]
COMPUTED = [check.name for check in MODEL_CHECKS if not check.cheap]
TRAININGS = ["learns", "trains"]


ONE_OF_EACH_MODULE = list({get_spec(name).build.__module__: name for name in MODELS}.values())


@parametrize_with_checks(ONE_OF_EACH_MODULE, only=["light-import"])
def test_a_declaration_imports_neither_keras_nor_tensorflow(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks([name for name in MODELS if name not in REPEATED], only=DECLARED)
def test_what_can_be_seen_without_weights(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks(ONE_OF_EACH_TOP, only=ENDS)
def test_any_number_of_classes_and_channels(check: Callable[[], None]) -> None:
    check()


@pytest.mark.applications
@parametrize_with_checks(OTHER_FAMILIES, only=ENDS)
def test_any_number_of_classes_and_channels_in_other_families(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks(sorted(REPEATED - DEEPEST), only=ONE_GRAPH)
def test_what_one_graph_of_the_others_shows(check: Callable[[], None]) -> None:
    check()


@pytest.mark.applications
@parametrize_with_checks(sorted(DEEPEST), only=ONE_GRAPH)
def test_what_one_graph_of_the_deepest_shows(check: Callable[[], None]) -> None:
    check()


def less_often(name: str, *values: object) -> Any:
    """Parameters of a test, which ``make test`` leaves out for the deepest networks."""
    return pytest.param(name, *values, marks=[pytest.mark.applications] if name in DEEPEST else [])


@pytest.mark.parametrize("name", [less_often(name) for name in sorted(REPEATED)])
def test_the_others_have_the_declared_features(name: str) -> None:
    layers, features = layers_of(name), get_spec(name).features
    assert {name: layers[feature.layer].shape for name, feature in features.items()} == {
        name: feature.shape for name, feature in features.items()
    }


@pytest.mark.parametrize("name", [name for name in MODELS if name not in REPEATED])
def test_long_rectangles_of_the_smallest_height_can_be_built(name: str) -> None:
    spec = get_spec(name)
    shape = (spec.min_size, spec.min_size + 64, spec.input_shape[2])
    with without_weights():
        assert create_model(name, num_classes=5, input_shape=shape).output_shape == (None, 5)


@pytest.mark.slow
@parametrize_with_checks(["lenet5"], only=COMPUTED)
def test_what_a_small_model_computes_and_learns(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(["resnet18", "inception_v1"], only=[name for name in COMPUTED if name not in TRAININGS])
def test_what_models_with_shortcuts_and_with_auxiliary_heads_compute(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@pytest.mark.applications
@parametrize_with_checks(["resnet18", "inception_v1", "inception_v1_bn"], only=TRAININGS)
def test_models_with_shortcuts_and_with_auxiliary_heads_train(check: Callable[[], None]) -> None:
    """``tests/`` trains smaller networks with such blocks, and one with heads."""
    check()


@pytest.mark.slow
@parametrize_with_checks(["alexnet_paper", "inception_v3"], only=["backends"], full=True)
def test_grouped_and_asymmetric_convolutions_on_another_backend(check: Callable[[], None]) -> None:
    check()


def test_every_model_names_features() -> None:
    assert all(get_spec(name).features for name in MODELS)


PUBLISHED = [less_often(name, source) for name in MODELS for source in get_spec(name).weights]


@pytest.mark.parametrize(("name", "source"), PUBLISHED)
def test_the_table_of_names_has_each_layer_once(name: str, source: str) -> None:
    published = get_spec(name).weights[source]
    names = published.names()
    aux: dict[str, Any] = {"aux_heads": True} if get_spec(name).aux_heads and source.startswith("torchvision") else {}
    layers = layers_of(name, *sorted((dict(published.options) | aux).items()))
    assert names.keys() >= {layer for layer, facts in layers.items() if facts.has_weights}
    assert len(set(names.values())) == len(names)


class Layer(NamedTuple):
    """The shape of its output for an image, and whether it has weights."""

    shape: tuple[int, ...]
    has_weights: bool


@cache
def layers_of(name: str, *options: tuple[str, Any]) -> dict[str, Layer]:
    """The layers, by name, of a network that is built once for all tests that ask."""
    with without_weights():
        layers = create_model(name, **dict(options)).layers
    return {layer.name: Layer(tuple(layer.output.shape[1:]), bool(layer.weights)) for layer in layers}


@pytest.mark.parametrize(
    "name",
    [
        *("vgg11_bn", "inception_v1_bn"),
        *(pytest.param(name, marks=pytest.mark.applications) for name in ("alexnet_owt", "resnet50", "inception_v3")),
    ],
)
def test_weights_come_back_from_a_state_dict(name: str, tmp_path: Path) -> None:
    spec = get_spec(name)
    published = spec.weights["torchvision:IMAGENET1K_V1"]
    size = max(spec.min_size, 32)
    shape = (size, size + 16, 3)
    keras.utils.set_random_seed(0)
    aux: dict[str, Any] = {"aux_heads": True} if spec.aux_heads else {}
    model = create_model(name, num_classes=3, input_shape=shape, **published.options, **aux)
    save_file(as_state_dict(model, published.names()), tmp_path / "theirs.safetensors")
    again = create_model(name, num_classes=3, input_shape=shape, weights=tmp_path / "theirs.safetensors", **aux)
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    keras.utils.clear_session(free_memory=False)


def as_state_dict(model: Any, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The weights as PyTorch has them: its names, output channels first, maps flattened channel by channel."""
    theirs = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    maps = [layer.input.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Flatten)]
    state = {}
    for layer in model.layers:
        for weight in layer.weights:
            array = np.asarray(weight)
            if array.ndim == 4:
                array = array.transpose(3, 2, 0, 1)
            elif array.ndim == 2:
                flattened = next((shape for shape in maps if np.prod(shape) == len(array)), (1, 1, len(array)))
                array = array.reshape(*flattened, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
            name = {"kernel": "weight"}.get(weight.name, theirs.get(weight.name, weight.name))
            state[f"{names[layer.name]}.{name}"] = np.ascontiguousarray(array)
    return state


def test_the_table_in_the_docs_lists_these_models() -> None:
    root = Path(__file__).parents[1]
    made = subprocess.run(
        [sys.executable, root / "docs" / "make_models.py"], capture_output=True, text=True, check=True
    )
    assert (root / "docs" / "models.md").read_text(encoding="utf-8") == made.stdout, "run: make docs"
