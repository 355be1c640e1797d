"""The networks are torchvision's: its file of weights gives its numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch

SIZE, CLASSES = 64, 5


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_same_weights_give_the_same_numbers(name: str, torchvision_model: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    theirs, weights = torchvision_model(name, num_classes=CLASSES)
    ours = create_model(
        name, num_classes=CLASSES, input_shape=(SIZE, SIZE, 3), weights=weights, classifier_activation=None
    )
    images = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, 3))
    for training in (False, True):
        with torch.no_grad():
            expected = theirs.train(training)(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
        assert expected.std(axis=0).max() > 1e-2  # the images matter
        np.testing.assert_allclose(np.asarray(ours(images, training=training)), expected, atol=1e-9)
