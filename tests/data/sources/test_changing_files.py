"""Files that change while they are read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cnn_registry.data.folder import load_folder
from cnn_registry.data.sources import cache
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import BadImageError, DataError


def swap(folder: Path) -> None:
    """Put other pictures in the place of some."""
    for number in range(3):
        shutil.copy(folder / "green" / f"{number}.png", folder / "red" / f"{number}.png")


def test_what_changes_between_its_hash_and_its_pixels_is_not_cached(
    own_colours: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_all = cache._decode_all

    def changing(*args: object) -> object:
        swap(own_colours)
        return decode_all(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "_decode_all", changing)
    with pytest.raises(DataError, match=r"3 images changed while they were read: .*0\.png"):
        load_images(load_folder(own_colours), 16)
    assert not own_cache.exists()


def test_a_streamed_image_with_another_content_is_not_read(own_colours: Path) -> None:
    loaded = load_images(load_folder(own_colours), 16, memory_limit=1000)
    position = loaded.dataset.ids.index("red/0.png")
    assert loaded.source.read([position]).shape == (1, 16, 16, 3)  # type: ignore[arg-type]
    os.utime(own_colours / "red" / "0.png")  # copied or touched, with the same content
    assert loaded.source.read([position]).shape == (1, 16, 16, 3)  # type: ignore[arg-type]
    swap(own_colours)
    with pytest.raises(BadImageError, match=r"0\.png .*has changed since it was first read"):
        loaded.source.read([position])  # type: ignore[arg-type]
