"""``alexnet_owt`` with torchvision's weights gives torchvision's outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("size", [(224, 224), (95, 130)])
def test_same_outputs_as_torchvision(size: tuple[int, int], torchvision_model: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    theirs, weights = torchvision_model("alexnet", num_classes=10)
    ours = create_model(
        "alexnet_owt", num_classes=10, input_shape=(*size, 3), weights=weights, classifier_activation=None
    )
    images = np.random.default_rng(0).normal(size=(2, *size, 3))
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert expected.std(axis=0).max() > 1e-1  # the images matter
    np.testing.assert_allclose(ours(images, training=False), expected, atol=1e-9)
