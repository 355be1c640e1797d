"""``inception_v3`` with torchvision's weights gives the outputs of torchvision's, the auxiliary head included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch

SHAPE, CLASSES = (299, 299, 3), 10


def test_same_outputs_as_torchvision(torchvision_model: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    theirs, weights = torchvision_model(
        "inception_v3", num_classes=CLASSES, aux_logits=True, init_weights=False, dropout=0.0
    )
    ours = create_model(
        "inception_v3",
        num_classes=CLASSES,
        input_shape=SHAPE,
        weights=weights,
        aux_heads=True,
        dropout=0,
        classifier_activation=None,
    )
    images = np.random.default_rng(0).normal(size=(4, *SHAPE))
    as_torch = torch.from_numpy(images.transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = theirs.eval()(as_torch).numpy()
        in_training = theirs.train()(as_torch)
    assert expected.std(axis=0).max() > 1e-2  # the images matter
    np.testing.assert_allclose(ours(images, training=False)["predictions"], expected, atol=1e-9)
    outputs = ours(images, training=True)
    for name, their_output in {"predictions": in_training.logits, "aux": in_training.aux_logits}.items():
        np.testing.assert_allclose(outputs[name], their_output.numpy(), atol=1e-9, err_msg=name)
