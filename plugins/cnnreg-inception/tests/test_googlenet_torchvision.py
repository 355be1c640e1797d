"""``inception_v1_bn`` with torchvision's weights gives the outputs of torchvision's GoogLeNet, heads included."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="needs torch")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")

SHAPE, CLASSES = (96, 128, 3), 10
OUTPUTS = {"predictions": "logits", "aux1": "aux_logits1", "aux2": "aux_logits2"}


@pytest.fixture(scope="module")
def theirs() -> Any:
    torch.manual_seed(0)
    network = torchvision.models.googlenet(
        weights=None, num_classes=CLASSES, aux_logits=True, init_weights=False, dropout=0.0, dropout_aux=0.0
    )
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)  # keeps the differences between the images
        elif isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.uniform_(values, -0.1, 0.1)
    return network


@pytest.fixture
def ours(theirs: Any, tmp_path: Path) -> Any:
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    network = create_model(
        "inception_v1_bn",
        num_classes=CLASSES,
        input_shape=SHAPE,
        weights=tmp_path / "theirs.pth",
        aux_heads=True,
        dropout=0,
        classifier_activation=None,
    )
    for head in ("aux1", "aux2"):
        network.get_layer(f"{head}_dropout").rate = 0.0
    return network


def test_same_outputs_as_torchvision(theirs: Any, ours: Any) -> None:
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype("float32")
    as_torch = torch.from_numpy(images.transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = theirs.eval()(as_torch).numpy()
    assert expected.std(axis=0).max() > 1e-2  # the images matter
    np.testing.assert_allclose(ours(images, training=False)["predictions"], expected, atol=1e-4)
    with torch.no_grad():
        in_training = theirs.train()(as_torch)
    outputs = ours(images, training=True)
    for name, their_name in OUTPUTS.items():
        np.testing.assert_allclose(outputs[name], getattr(in_training, their_name).numpy(), atol=1e-4, err_msg=name)
