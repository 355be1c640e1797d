"""Pictures drawn by the tests, the real flowers where they are, and a separate cache for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data.dataset import ImageDataset

FLOWERS = Path(__file__).parents[2].parent / "shared" / "datasets" / "17flowers"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for this test alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CNNREG_CACHE", str(folder))
    return folder


@pytest.fixture
def flowers() -> Path:
    """The folder of the real flowers."""
    if not FLOWERS.is_dir():
        pytest.skip(f"the real flowers are not at {FLOWERS}")
    return FLOWERS


def noise(width: int = 20, height: int = 16, seed: int = 0) -> Image.Image:
    """A picture whose pixels all differ."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """``picture(width, height, seed)``: an RGB picture of noise."""
    return noise


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """``folder("cat/1.png", "dog/1.jpg", ...)``: a folder with a picture at each of these paths."""

    def make(*paths: str) -> Path:
        root = tmp_path / "pictures"
        for seed, path in enumerate(paths):
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            noise(seed=seed).save(file)
        return root

    return make


@pytest.fixture
def dataset() -> Callable[..., ImageDataset]:
    """``dataset(3, 5)``: a dataset in memory with 3 images of the first class and 5 of the second, 6x6 pixels."""

    def make(*counts: int) -> ImageDataset:
        labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
        return ImageDataset(
            name="made",
            class_names=tuple(f"class {label}" for label in range(len(counts))),
            ids=tuple(f"made/{number}" for number in range(len(labels))),
            labels=labels,
            images=np.random.default_rng(0).integers(0, 256, (len(labels), 6, 6, 3), np.uint8),
            splits={},
            default_split=None,
            source="made by a test",
            image_size=6,
        )

    return make
