"""``alexnet_owt`` with torchvision's weights gives torchvision's outputs."""

from pathlib import Path

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="needs torch")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")


@pytest.mark.parametrize("size", [(224, 224), (95, 130)])
def test_same_outputs_as_torchvision(size: tuple[int, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet(weights=None, num_classes=10).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)  # keeps the differences between the images
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = create_model(
        "alexnet_owt",
        num_classes=10,
        input_shape=(*size, 3),
        weights=tmp_path / "theirs.pth",
        classifier_activation=None,
    )
    images = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert expected.std(axis=0).max() > 1e-1  # the images matter
    np.testing.assert_allclose(ours(images, training=False), expected, rtol=1e-4, atol=1e-5)
