"""``alexnet_owt`` with torchvision's weights gives torchvision's outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("size", [(224, 224), (95, 130)])
def test_same_outputs_as_torchvision(
    size: tuple[int, int],
    torchvision: Callable[..., Any],
    in_double_precision: Callable[[Any], Any],
    noise: Callable[..., np.ndarray],
) -> None:
    images = noise(2, *size, 3)
    theirs = torchvision("alexnet", images, num_classes=10)
    ours = create_model(
        "alexnet_owt", num_classes=10, input_shape=(*size, 3), weights=theirs.weights, classifier_activation=None
    )
    assert theirs.inference.std(axis=0).max() > 1e-1  # the images matter
    np.testing.assert_allclose(in_double_precision(ours)(images, training=False), theirs.inference, atol=1e-9)
