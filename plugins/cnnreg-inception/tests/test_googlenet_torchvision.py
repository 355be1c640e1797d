"""``inception_v1_bn`` with torchvision's weights gives the outputs of torchvision's GoogLeNet, heads included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch

SHAPE, CLASSES = (96, 128, 3), 10
OUTPUTS = {"predictions": "logits", "aux1": "aux_logits1", "aux2": "aux_logits2"}


def test_same_outputs_as_torchvision(torchvision_model: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    theirs, weights = torchvision_model(
        "googlenet", num_classes=CLASSES, aux_logits=True, init_weights=False, dropout=0.0, dropout_aux=0.0
    )
    ours = create_model(
        "inception_v1_bn",
        num_classes=CLASSES,
        input_shape=SHAPE,
        weights=weights,
        aux_heads=True,
        dropout=0,
        classifier_activation=None,
    )
    for head in ("aux1", "aux2"):
        ours.get_layer(f"{head}_dropout").rate = 0.0
    images = np.random.default_rng(0).normal(size=(4, *SHAPE))
    as_torch = torch.from_numpy(images.transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = theirs.eval()(as_torch).numpy()
        in_training = theirs.train()(as_torch)
    assert expected.std(axis=0).max() > 1e-2  # the images matter
    np.testing.assert_allclose(ours(images, training=False)["predictions"], expected, atol=1e-9)
    outputs = ours(images, training=True)
    for name, their_name in OUTPUTS.items():
        np.testing.assert_allclose(outputs[name], getattr(in_training, their_name).numpy(), atol=1e-9, err_msg=name)
