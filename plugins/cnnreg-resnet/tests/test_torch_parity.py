"""The networks are torchvision's: its file of weights gives its numbers."""

from pathlib import Path

import numpy as np
import pytest

from cnn_registry import create_model

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="needs torch")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")

SIZE, CLASSES = 64, 5


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_same_weights_give_the_same_numbers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    for part, value in theirs.state_dict().items():
        if part.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:
            value.add_(torch.empty_like(value).uniform_(-0.1, 0.1))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = create_model(
        name,
        num_classes=CLASSES,
        input_shape=(SIZE, SIZE, 3),
        weights=tmp_path / "theirs.pth",
        classifier_activation=None,
    )

    images = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, 3)).astype("float32")
    for training in (False, True):
        with torch.no_grad():
            expected = theirs.train(training)(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
        assert expected.std(axis=0).max() > 1e-2  # the images matter
        np.testing.assert_allclose(np.asarray(ours(images, training=training)), expected, rtol=1e-4, atol=1e-4)
