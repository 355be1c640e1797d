"""Presets of keras-hub as models; they are local, so that nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model, get_spec
from cnn_registry.errors import ModelBuildError, UsageError

hub = pytest.importorskip("keras_hub")
pytest.importorskip("cnnreg_keras_hub")

SMALL = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64, 64],
    "stackwise_num_blocks": [1, 1],
    "stackwise_num_strides": [1, 2],
    "block_type": "basic_block",
    "use_pre_activation": False,
}


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of a small classifier that was saved, with its own scaling."""
    converter = hub.layers.ResNetImageConverter(image_size=(32, 32), scale=[0.01, 0.02, 0.03], offset=[-1, 0, 1])
    classifier = hub.models.ResNetImageClassifier(
        backbone=hub.models.ResNetBackbone(**SMALL),
        num_classes=5,
        preprocessor=hub.models.ResNetImageClassifierPreprocessor(converter),
        activation="softmax",
    )
    folder: Path = tmp_path_factory.mktemp("preset") / "small"
    classifier.save_to_preset(str(folder))
    return folder


def test_a_local_preset_is_a_model_with_its_scaling(preset: Path) -> None:
    from cnnreg_keras_hub._network import trained

    theirs = hub.models.ImageClassifier.from_preset(str(preset), activation="softmax")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    expected = theirs.predict(images, verbose=0)
    found = trained(str(preset))
    assert np.allclose(found.predict(images / 255, verbose=0), expected, atol=1e-5)

    ours = create_model("keras_hub", preset=str(preset), num_classes=5, input_shape=(32, 32, 3))
    for layer, theirs_layer in zip(ours.layers, found.layers, strict=True):
        layer.set_weights(theirs_layer.get_weights())
    assert np.allclose(ours.predict(images / 255, verbose=0), expected, atol=1e-5)
    maps = create_model("keras_hub", preset=str(preset), num_classes=5, input_shape=(32, 32, 3), include_top=False)
    assert maps.output_shape[-1] == 64


def test_the_default_is_what_is_declared() -> None:
    spec = get_spec("keras_hub")
    model = create_model("keras_hub")
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == spec.trainable_params
    assert sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights) == spec.non_trainable_params
    assert tuple(model.get_layer("features").output.shape[1:]) == spec.features["last"].shape
    names = [layer.name for layer in create_model("keras_hub").layers[1:]]
    assert [layer.name for layer in model.layers[1:]] == names


def test_the_presets_are_those_of_keras_hub() -> None:
    known = {name for cls in _subclasses(hub.models.ImageClassifier) for name in cls.presets}
    declared = {published.options["preset"] for published in get_spec("keras_hub").weights.values()}
    assert len(declared) > 40
    assert declared <= known


def _subclasses(cls: Any) -> list[Any]:
    below: list[Any] = cls.__subclasses__()
    return [cls, *(found for each in below for found in _subclasses(each))]


def test_a_name_that_is_not_one_is_refused() -> None:
    with pytest.raises((UsageError, ModelBuildError), match="Did you mean 'resnet_50_imagenet'"):
        create_model("keras_hub", preset="resnet50_imagenet")
