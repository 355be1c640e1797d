"""The definitions use Keras alone: another backend computes what TensorFlow does with the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cnn_registry import backend, create_model, get_spec

keras = backend.keras()

MODELS = ["lenet5", "alexnet_paper", "vgg11_bn", "inception_v1", "inception_v3", "inception_resnet_v1", "resnet18"]
"""One of each family."""

FORWARD = """
import sys
from pathlib import Path

import numpy as np

from cnn_registry import backend, create_model

for folder in sorted(Path(sys.argv[1]).iterdir()):
    images = np.load(folder / "images.npy")
    model = create_model(
        folder.name, num_classes=4, input_shape=images.shape[1:], weights=folder / "model.weights.h5"
    )
    np.save(folder / "outputs.npy", model.predict_on_batch(images))
    backend.keras().utils.clear_session(free_memory=False)
print(backend.keras().backend.backend())
"""


@pytest.mark.parametrize("other", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_same_outputs_on_another_backend(other: str, tmp_path: Path) -> None:
    if find_spec(other) is None:
        pytest.skip(f"needs {other}")
    expected = {name: save(name, tmp_path / name) for name in MODELS}
    finished = subprocess.run(
        [sys.executable, "-c", FORWARD, str(tmp_path)],
        env=os.environ | {"KERAS_BACKEND": other, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"{other}\n"
    for name, outputs in expected.items():
        found = np.load(tmp_path / name / "outputs.npy")
        np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-4, err_msg=name)


def save(name: str, folder: Path) -> np.ndarray:
    """Leave a model's weights and images in ``folder``; gives its outputs."""
    folder.mkdir()
    size = max(get_spec(name).min_size, 32)
    images = np.random.default_rng(0).random((2, size, size + 8, 3), np.float32)
    np.save(folder / "images.npy", images)
    keras.utils.set_random_seed(0)
    model = create_model(name, num_classes=4, input_shape=images.shape[1:])
    model.save_weights(folder / "model.weights.h5")
    outputs = np.asarray(model(images, training=False))
    assert outputs.std(axis=0).max() > 1e-4, f"the images make no difference to {name}"
    keras.utils.clear_session(free_memory=False)
    return outputs
