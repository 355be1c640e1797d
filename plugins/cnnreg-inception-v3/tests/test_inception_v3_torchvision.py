"""``inception_v3`` with torchvision's weights gives the outputs of torchvision's, the auxiliary head included."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model
from cnn_registry.backend import keras as import_keras

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="needs torch")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")

keras = import_keras()

SHAPE, CLASSES = (299, 299, 3), 10


@pytest.fixture
def float64() -> Iterator[None]:
    """Ninety normalisations over the few values of four images add up single precision's rounding."""
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.fixture(scope="module")
def theirs() -> Any:
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(
        weights=None, num_classes=CLASSES, aux_logits=True, init_weights=False, dropout=0.0
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


@pytest.mark.usefixtures("float64")
def test_same_outputs_as_torchvision(theirs: Any, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = create_model(
        "inception_v3",
        num_classes=CLASSES,
        input_shape=SHAPE,
        weights=tmp_path / "theirs.pth",
        aux_heads=True,
        dropout=0,
        classifier_activation=None,
    )
    theirs.double()
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
