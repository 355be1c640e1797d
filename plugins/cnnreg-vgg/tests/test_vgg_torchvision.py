"""A VGG with torchvision's weights gives torchvision's outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_same_outputs_as_torchvision(
    name: str,
    torchvision: Callable[..., Any],
    in_double_precision: Callable[[Any], Any],
    noise: Callable[..., np.ndarray],
) -> None:
    images = noise(2, 224, 224, 3)
    theirs = torchvision(name, images, num_classes=10, dropout=0.0)
    ours = create_model(name, num_classes=10, weights=theirs.weights, classifier_activation=None, dropout=0)
    ours = in_double_precision(ours)
    for training, expected in ((False, theirs.inference), (True, theirs.training["logits"])):
        assert expected.std(axis=0).max() > 1e-1  # the images matter
        np.testing.assert_allclose(ours(images, training=training), expected, atol=1e-9)
