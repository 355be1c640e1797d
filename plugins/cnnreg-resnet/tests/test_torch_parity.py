"""The networks are torchvision's: the same weights give the same numbers."""

import re
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model
from cnn_registry.backend import keras as import_keras

keras = import_keras()
torch = pytest.importorskip("torch", reason="needs torch")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")

pytestmark = pytest.mark.torch

SIZE, CLASSES = 64, 5

UNIT = re.compile(r"stage(\d)_block(\d+)_(conv\d|shortcut)(_bn)?")
OUTSIDE = {"conv1": "conv1", "conv1_bn": "bn1", "predictions": "fc"}


def their_name(ours: str) -> str:
    """The name in torchvision of one of our layers with weights."""
    if not (match := UNIT.fullmatch(ours)):
        return OUTSIDE[ours]
    stage, block, part, norm = match.groups()
    if part == "shortcut":
        part = "downsample.1" if norm else "downsample.0"
    elif norm:
        part = part.replace("conv", "bn")
    return f"layer{stage}.{int(block) - 1}.{part}"


def their_weights(state: dict[str, Any], layer: Any) -> list[Any]:
    """The arrays for one of our layers: kernels turned from (out, in, height, width) to Keras' order."""
    name = their_name(layer.name)
    if isinstance(layer, keras.layers.BatchNormalization):
        return [state[f"{name}.{part}"].numpy() for part in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(layer, keras.layers.Dense):
        return [state[f"{name}.weight"].numpy().T, state[f"{name}.bias"].numpy()]
    return [state[f"{name}.weight"].numpy().transpose(2, 3, 1, 0)]


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_same_weights_give_the_same_numbers(name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    for part, value in theirs.state_dict().items():
        if part.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:
            value.add_(torch.empty_like(value).uniform_(-0.1, 0.1))
    ours = create_model(name, num_classes=CLASSES, input_shape=(SIZE, SIZE, 3), classifier_activation=None)
    layers = [layer for layer in ours.layers if layer.weights]
    names = {part.rpartition(".")[0] for part in theirs.state_dict()}
    assert {their_name(layer.name) for layer in layers} == names
    for layer in layers:
        layer.set_weights(their_weights(theirs.state_dict(), layer))

    images = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, 3)).astype("float32")
    for training in (False, True):
        with torch.no_grad():
            expected = theirs.train(training)(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
        assert expected.std(axis=0).max() > 1e-2  # the images matter
        np.testing.assert_allclose(np.asarray(ours(images, training=training)), expected, rtol=1e-4, atol=1e-4)
