"""``inception_v3`` with torchvision's weights gives the outputs of torchvision's, the auxiliary head included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch

SHAPE, CLASSES = (299, 299, 3), 10
OUTPUTS = {"predictions": "logits", "aux": "aux_logits"}


def test_same_outputs_as_torchvision(
    torchvision: Callable[..., Any], in_double_precision: Callable[[Any], Any], noise: Callable[..., np.ndarray]
) -> None:
    images = noise(4, *SHAPE)
    theirs = torchvision("inception_v3", images, num_classes=CLASSES, aux_logits=True, init_weights=False, dropout=0.0)
    ours = create_model(
        "inception_v3",
        num_classes=CLASSES,
        input_shape=SHAPE,
        weights=theirs.weights,
        aux_heads=True,
        dropout=0,
        classifier_activation=None,
    )
    ours = in_double_precision(ours)
    assert theirs.inference.std(axis=0).max() > 1e-2  # the images matter
    np.testing.assert_allclose(ours(images, training=False)["predictions"], theirs.inference, atol=1e-9)
    outputs = ours(images, training=True)
    for name, their_name in OUTPUTS.items():
        np.testing.assert_allclose(outputs[name], theirs.training[their_name], atol=1e-9, err_msg=name)
