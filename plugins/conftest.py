"""What the tests of the packages share: above all comparisons with torchvision's networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("torch_outputs.py")


class Theirs(NamedTuple):
    """What torchvision's network computed, in double precision.

    Attributes:
        weights: the file of its weights.
        inference: its logits in inference, ``(images, classes)``.
        training: its outputs in training by their names there, ``"logits"`` among them.
    """

    weights: Path
    inference: np.ndarray
    training: dict[str, np.ndarray]


Torchvision = Callable[..., Theirs]


def pytest_pycollect_makemodule() -> None:
    """Prepare TensorFlow before a test imports Keras; a process that only distributes tests does without both."""
    import cnn_registry.blocks  # noqa: F401  (that does it)


@pytest.fixture(autouse=True)
def readers_are_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests of the core run as well, the kit's process that reads saved networks has TensorFlow already."""
    if "TESTS_WARM_PYTHON" in os.environ:
        monkeypatch.setattr(sys, "executable", json.loads(os.environ["TESTS_WARM_PYTHON"])[-1])


@pytest.fixture
def torchvision(tmp_path: Path) -> Torchvision:
    """Run one of torchvision's networks, by name and arguments, on images ``(images, height, width, 3)``."""
    for module in ("torch", "torchvision"):
        if find_spec(module) is None:
            pytest.skip(f"needs {module}")

    def run(name: str, images: np.ndarray, **arguments: Any) -> Theirs:
        np.save(tmp_path / "images.npy", images)
        question = {"library": "torchvision", "name": name, "arguments": arguments}
        (tmp_path / "question.json").write_text(json.dumps(question), encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "outputs.npz") as outputs:
            training = {key.removeprefix("True "): array for key, array in outputs.items() if key.startswith("True ")}
            return Theirs(tmp_path / "theirs.pth", outputs["False logits"], training)

    return run


@pytest.fixture
def in_double_precision() -> Callable[[Any], Any]:
    """Make the same network with the same weights that computes in float64.

    In single precision, the rounding errors of a hundred normalisations over the few values of a small batch add up.
    """
    import keras

    def as_double(layer: Any) -> Any:
        return type(layer).from_config(layer.get_config() | {"dtype": "float64"})

    def convert(model: Any) -> Any:
        twin = keras.models.clone_model(model, clone_function=as_double)
        twin.set_weights(model.get_weights())
        return twin

    return convert


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Images of noise in double precision whose values are exact in single precision, to which Keras rounds inputs."""

    def make(*shape: int) -> np.ndarray:
        values = np.random.default_rng(0).normal(size=shape)
        return values.astype(np.float32).astype(np.float64)

    return make
