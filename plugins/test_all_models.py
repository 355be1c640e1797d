"""What holds for every model of the packages beside this file: its spec is true, and it can be built in every form."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cnn_registry import ModelSpec, backend, create_model, get_spec, list_models
from cnn_registry.graph import MAIN, cost
from cnn_registry.registry import describe_models

keras = backend.keras()

PLUGINS = {path.name for path in Path(__file__).parent.glob("cnnreg-*")}
MODELS = [
    spec.name for spec in describe_models() if isinstance(spec, ModelSpec) and spec.provider.distribution in PLUGINS
]


@contextmanager
def without_weights() -> Iterator[None]:
    """Build graphs in here without the memory and the time that weights take."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)


def size_of(spec: ModelSpec) -> int:
    """A small size that the model can be built for, other than its default."""
    return max(spec.min_size, 32)


def test_every_plugin_is_installed_and_none_is_broken() -> None:
    described = describe_models()
    assert all(isinstance(spec, ModelSpec) for spec in described), described
    assert {get_spec(name).provider.distribution for name in list_models()} >= PLUGINS


def test_declaring_them_imports_neither_keras_nor_tensorflow() -> None:
    code = (
        "import sys; from cnn_registry.registry import describe_models; assert describe_models(); "
        "print(sorted({'keras', 'tensorflow', 'numpy'} & sys.modules.keys()))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"


@pytest.mark.parametrize("name", MODELS)
def test_the_spec_is_true(name: str) -> None:
    spec = get_spec(name)
    with without_weights():
        model = create_model(name)
        trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        total = sum(int(np.prod(weight.shape)) for weight in model.weights if weight.dtype == "float32")
        assert (trainable, total) == (spec.trainable_params, spec.total_params)
        assert cost(model).macs == spec.macs
        shapes = {feature: model.get_layer(part.layer).output.shape[1:] for feature, part in spec.features.items()}
    assert shapes == {feature: part.shape for feature, part in spec.features.items()}
    assert model.name == name
    assert spec.features


@pytest.mark.parametrize("name", MODELS)
def test_without_the_top_and_with_one_channel(name: str) -> None:
    spec = get_spec(name)
    height, width = size_of(spec) + 16, size_of(spec) + 33
    last = list(spec.features.values())[-1]
    with without_weights():
        model = create_model(name, input_shape=(height, width, 1), include_top=False, pooling="avg")
    assert model.output_shape == (None, last.shape[-1])


@pytest.mark.parametrize("name", MODELS)
def test_features_of_a_small_image(name: str) -> None:
    spec = get_spec(name)
    size = size_of(spec)
    with without_weights():
        model = create_model(name, input_shape=(size, size, 3), features=tuple(spec.features))
    assert list(model.output) == list(spec.features)
    sizes = [map_.shape[1] for map_ in model.output.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) >= 1


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_of_two_classes_from_four_channels(name: str) -> None:
    size = size_of(get_spec(name))
    keras.utils.set_random_seed(0)
    model = create_model(name, num_classes=2, input_shape=(size, size, 4))
    images = np.random.default_rng(0).random((3, size, size, 4), np.float32)
    probabilities = np.asarray(model(images, training=False))
    assert probabilities.shape == (3, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # Each row depends on its own image alone.
    np.testing.assert_allclose(np.asarray(model(images[1:2], training=False)), probabilities[1:2], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_auxiliary_heads_are_named_outputs_of_the_training_form_alone(name: str) -> None:
    spec = get_spec(name)
    assert bool(spec.aux_heads) == ("aux_heads" in spec.options)
    if spec.aux_heads:
        with without_weights():
            heads = create_model(name, num_classes=5, aux_heads=True).output
            plain = create_model(name, num_classes=5).output
        assert {output: tensor.shape for output, tensor in heads.items()} == dict.fromkeys(
            (MAIN, *spec.aux_heads), (None, 5)
        )
        assert plain.shape == (None, 5)


@pytest.mark.parametrize("name", MODELS)
def test_layer_names_are_stable(name: str) -> None:
    """Names that Keras numbers would change with whatever was built before."""
    with without_weights():
        first, second = ([layer.name for layer in create_model(name).layers] for _ in range(2))
    assert first[1:] == second[1:]  # the input has no name of its own


PUBLISHED = [(name, source) for name in MODELS for source in get_spec(name).weights]


@pytest.mark.parametrize(("name", "source"), PUBLISHED)
def test_the_table_of_names_has_each_layer_once(name: str, source: str) -> None:
    published = get_spec(name).weights[source]
    names = published.names()
    aux: dict[str, Any] = {"aux_heads": True} if get_spec(name).aux_heads and source.startswith("torchvision") else {}
    with without_weights():
        layers = {layer.name for layer in create_model(name, **published.options, **aux).layers if layer.weights}
    assert names.keys() >= layers
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("name", ["alexnet_owt", "vgg11_bn", "resnet18", "resnet50", "inception_v1_bn", "inception_v3"])
def test_weights_come_back_from_a_state_dict(name: str, tmp_path: Path) -> None:
    spec = get_spec(name)
    published = spec.weights["torchvision:IMAGENET1K_V1"]
    shape = (size_of(spec), size_of(spec) + 16, 3)
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


def test_the_table_in_the_docs_is_of_these_models() -> None:
    root = Path(__file__).parents[1]
    made = subprocess.run(
        [sys.executable, root / "docs" / "make_models.py"], capture_output=True, text=True, check=True
    )
    assert (root / "docs" / "models.md").read_text(encoding="utf-8") == made.stdout, "run: make docs"
