"""What the packages' comparisons with torchvision's networks share.

Importing the blocks first prepares TensorFlow, before a test imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cnn_registry.blocks  # noqa: F401  (see above)

TorchvisionModel = Callable[..., tuple[Any, Path]]


@pytest.fixture
def torchvision_model(tmp_path: Path) -> Iterator[TorchvisionModel]:
    """Make one of torchvision's networks by name and arguments, and the file of its weights, all in double precision.

    In single precision, the rounding errors of a hundred normalisations over the few values of a small batch add up.
    The weights keep the differences between images, which PyTorch's own initial values nearly lose in a deep network,
    and the statistics, scales and shifts of its normalisations are not those of a new layer.
    """
    import keras

    torch = pytest.importorskip("torch", reason="needs torch")
    torchvision = pytest.importorskip("torchvision", reason="needs torchvision")

    def make(name: str, **arguments: Any) -> tuple[Any, Path]:
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None, **arguments)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                torch.nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                for values in (module.weight, module.running_var):
                    torch.nn.init.uniform_(values, 0.5, 1.5)
                for values in (module.bias, module.running_mean):
                    torch.nn.init.uniform_(values, -0.1, 0.1)
        torch.save(network.state_dict(), tmp_path / "theirs.pth")
        return network.double(), tmp_path / "theirs.pth"

    keras.config.set_floatx("float64")
    yield make
    keras.config.set_floatx("float32")
