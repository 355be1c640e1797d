"""Loaders of many datasets: ``prefix:name``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnn_registry.data import ImageDataset, register_dataset
from cnn_registry.data.loading import load_dataset
from cnn_registry.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins


@pytest.fixture
def many(plugins: FakePlugins) -> None:
    """A loader of as many images of two classes as its name says."""

    @register_dataset(summary="Many", num_classes=0, num_images=0, parameter="COUNT")
    def many(source: Path | None, *, name: str) -> ImageDataset:
        count = int(name)
        return ImageDataset(
            name="drawn",
            class_names=("a", "b"),
            ids=tuple(map(str, range(count))),
            labels=np.arange(count) % 2,
            images=np.zeros((count, 8, 8, 3), np.uint8),
            splits={},
            default_split=None,
            source=str(source or "drawn"),
            image_size=8,
        )


@pytest.mark.usefixtures("many")
def test_what_follows_the_prefix_is_passed_on(cnnreg: Cnnreg) -> None:
    made = load_dataset("many:6", None)
    assert (len(made), made.name) == (6, "many:6")
    assert len(load_dataset("many:4", Path("x"))) == 4
    with pytest.raises(UsageError, match="The dataset 'many' is one of many; name one of them: many:COUNT"):
        load_dataset("many", None)
    with pytest.raises(UnknownNameError):
        load_dataset("few:4", None)
    listed = {row["name"]: row for row in json.loads(cnnreg("datasets", "--json")[1])}
    assert listed["many"]["parameter"] == "COUNT"
    assert "many:COUNT" in cnnreg("datasets")[1]
