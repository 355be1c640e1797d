"""A VGG with torchvision's weights gives torchvision's outputs."""

from pathlib import Path

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="needs torch")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_same_outputs_as_torchvision(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=10, dropout=0.0)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.uniform_(values, -0.5, 0.5)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = create_model(name, num_classes=10, weights=tmp_path / "theirs.pth", classifier_activation=None, dropout=0)
    images = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype("float32")
    for training in (False, True):
        with torch.no_grad():
            expected = theirs.train(training)(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
        assert expected.std(axis=0).max() > 1e-2  # the images matter
        np.testing.assert_allclose(ours(images, training=training), expected, atol=1e-5)
