"""A VGG with torchvision's weights gives torchvision's outputs."""

import re
from typing import Any

import numpy as np
import pytest
from cnnreg_vgg import CONVOLUTIONS

from cnn_registry import create_model

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")


def their_names(name: str) -> dict[str, str]:
    """Our layers with weights by theirs: in ``features`` they count every convolution, normalisation, ReLU, pooling."""
    depth, batch_norm = int(re.sub(r"\D", "", name)), name.endswith("_bn")
    names, position = {"fc6": "classifier.0", "fc7": "classifier.3", "predictions": "classifier.6"}, 0
    for block, convolutions in enumerate(CONVOLUTIONS[depth], start=1):
        for number in range(1, convolutions + 1):
            names[f"block{block}_conv{number}"] = f"features.{position}"
            if batch_norm:
                names[f"block{block}_conv{number}_bn"] = f"features.{position + 1}"
            position += 3 if batch_norm else 2
        position += 1
    return names


def move_weights(theirs: Any, ours: Any, names: dict[str, str]) -> None:
    """Torch has a kernel's output and input channels first, and flattens maps channel by channel."""
    state = {name: weight.numpy() for name, weight in theirs.state_dict().items()}
    for name, their_name in names.items():
        weight, bias = state[f"{their_name}.weight"], state[f"{their_name}.bias"]
        moving = [state[f"{their_name}.running_{which}"] for which in ("mean", "var")] if name.endswith("_bn") else []
        if name == "fc6":
            weight = weight.reshape(-1, 512, 7, 7).transpose(0, 2, 3, 1).reshape(len(weight), -1)
        weight = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
        ours.get_layer(name).set_weights([weight, bias, *moving])


@pytest.mark.parametrize("training", [False, True])
def test_same_outputs_as_torchvision(training: bool) -> None:
    name = "vgg11_bn"
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=10, dropout=0.0).train(training)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.uniform_(values, -0.5, 0.5)
    ours = create_model(name, num_classes=10, classifier_activation=None, dropout=0)
    move_weights(theirs, ours, their_names(name))
    images = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype("float32")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(ours(images, training=training), expected, atol=1e-5)
