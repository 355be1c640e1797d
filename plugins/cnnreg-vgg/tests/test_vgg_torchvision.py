"""A VGG with torchvision's weights gives torchvision's outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_same_outputs_as_torchvision(name: str, torchvision_model: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    theirs, weights = torchvision_model(name, num_classes=10, dropout=0.0)
    ours = create_model(name, num_classes=10, weights=weights, classifier_activation=None, dropout=0)
    images = np.random.default_rng(0).normal(size=(2, 224, 224, 3))
    for training in (False, True):
        with torch.no_grad():
            expected = theirs.train(training)(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
        assert expected.std(axis=0).max() > 1e-1  # the images matter
        np.testing.assert_allclose(ours(images, training=training), expected, atol=1e-9)
