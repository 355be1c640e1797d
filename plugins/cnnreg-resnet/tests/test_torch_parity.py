"""The networks are torchvision's: its file of weights gives its numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch

SIZE, CLASSES = 64, 5


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_same_weights_give_the_same_numbers(
    name: str,
    torchvision: Callable[..., Any],
    in_double_precision: Callable[[Any], Any],
    noise: Callable[..., np.ndarray],
) -> None:
    images = noise(4, SIZE, SIZE, 3)
    theirs = torchvision(name, images, num_classes=CLASSES)
    ours = create_model(
        name, num_classes=CLASSES, input_shape=(SIZE, SIZE, 3), weights=theirs.weights, classifier_activation=None
    )
    ours = in_double_precision(ours)
    for training, expected in ((False, theirs.inference), (True, theirs.training["logits"])):
        assert expected.std(axis=0).max() > 1e-2  # the images matter
        np.testing.assert_allclose(np.asarray(ours(images, training=training)), expected, atol=1e-9)
