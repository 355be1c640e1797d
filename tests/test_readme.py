"""The README's code is what it says it is."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry import create_model, get_spec
from cnn_registry.registry.discovery import MODELS

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def mynet(plugins: FakePlugins) -> str:
    """The README's plugin, installed as it is written there."""
    [entry_points] = [tomllib.loads(text)["project"]["entry-points"] for text in blocks("toml")]
    plugins.install("cnnreg-mynet", source="", entries=entry_points[MODELS])
    package = plugins.root / "site" / "cnnreg_mynet"
    package.with_suffix(".py").unlink()
    package.mkdir()
    for text in blocks("python"):
        if path := re.match(r"# src/cnnreg_mynet/(\w+\.py)\n", text):
            (package / path[1]).write_text(text)
    return "mynet"


def test_the_plugin_is_found_and_its_spec_is_true(mynet: str) -> None:
    spec = get_spec(mynet)
    model = create_model(mynet)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert (trainable, model.count_params()) == (spec.trainable_params, spec.total_params)
    assert spec.options == {"dropout": 0.2}


def test_the_blocks_are_used_as_they_are_written() -> None:
    [code] = [text for text in blocks("python") if "InceptionBlock_1" in text]
    names: dict[str, object] = {}
    exec(code, names)  # the README is ours
    assert getattr(names["x"], "shape", None) == (None, 48, 48, 64 + 64 + 96 + 32)
