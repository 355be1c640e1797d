"""``alexnet_owt`` with torchvision's weights gives torchvision's outputs."""

from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

THEIRS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "predictions": "classifier.6",
}


def move_weights(theirs: Any, ours: Any) -> None:
    """Torch has a kernel's output and input channels first, and flattens maps channel by channel."""
    state = {name: weight.numpy() for name, weight in theirs.state_dict().items()}
    for name, their_name in THEIRS.items():
        kernel, bias = state[f"{their_name}.weight"], state[f"{their_name}.bias"]
        if name == "fc6":
            kernel = kernel.reshape(-1, 256, 6, 6).transpose(0, 2, 3, 1).reshape(len(kernel), -1)
        kernel = kernel.T if kernel.ndim == 2 else kernel.transpose(2, 3, 1, 0)
        ours.get_layer(name).set_weights([kernel, bias])


@pytest.mark.parametrize("size", [(224, 224), (95, 130)])
def test_same_outputs_as_torchvision(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet(weights=None, num_classes=10).eval()
    ours = create_model("alexnet_owt", num_classes=10, input_shape=(*size, 3), classifier_activation=None)
    move_weights(theirs, ours)
    images = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(ours(images, training=False), expected, atol=1e-5)
