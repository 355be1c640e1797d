"""timm's state dicts in our networks give timm's outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model, get_spec, list_models

pytestmark = pytest.mark.torch

SCRIPT = Path(__file__).with_name("torch_outputs.py")
SIZES = {"vgg16": 224, "vgg11_bn": 224, "inception_v3": 299}
"""Edges of the images in pixels; those of others are small, which their networks take."""

NAMES = ["resnet18", "resnet50", "vgg11_bn", "vgg16", "inception_v3", "inception_v4", "inception_resnet_v2"]


@pytest.mark.parametrize("name", NAMES)
def test_same_outputs_as_timm(
    name: str, in_double_precision: Callable[[Any], Any], noise: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    for module in ("torch", "timm", "safetensors"):
        if find_spec(module) is None:
            pytest.skip(f"needs {module}")
    size = SIZES.get(name, 139)
    images = noise(2, size, size, 3)
    np.save(tmp_path / "images.npy", images)
    question = {"library": "timm", "name": name, "arguments": {"num_classes": 10}}
    (tmp_path / "question.json").write_text(json.dumps(question), encoding="utf-8")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = create_model(
        name,
        num_classes=10,
        input_shape=(size, size, 3),
        weights=tmp_path / "theirs.safetensors",
        classifier_activation=None,
    )
    expected = np.load(tmp_path / "outputs.npz")["False logits"]
    assert expected.std(axis=0).max() > 1e-1  # the images matter
    found = in_double_precision(ours)(images, training=False)
    # Keras keeps the factor of a Rescaling, which Inception-ResNet-v2 has, in single precision.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_every_address_names_a_model_of_timm() -> None:
    """The repositories are those that timm itself names."""
    found = {
        published.origin
        for model in list_models()
        for name, published in get_spec(model).weights.items()
        if name.startswith("timm:")
    }
    assert len(found) >= 15
    if find_spec("timm") is None:
        pytest.skip("needs timm")
    script = "import json, timm; print(json.dumps(timm.list_models(pretrained=True)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {origin.removeprefix("hf://timm/") for origin in found} <= set(json.loads(done.stdout))
