from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnn_registry.data.form import Channels, Form, Resize
from cnn_registry.data.image import decode
from cnn_registry.export.facts import resize_rule
from cnn_registry.export.readme import picture_lines


def noise(mode: str) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (30, 40, channels), dtype=np.uint8)
    return Image.frombytes(mode, (40, 30), values.tobytes())


def palette(folder: Path) -> Path:
    noise("RGB").quantize(8).save(folder / "palette.png", transparency=3)
    return folder / "palette.png"


def upright(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x112] = 6
    noise("CMYK").save(folder / "turned.jpg", exif=exif)
    return folder / "turned.jpg"


def of_mode(mode: str) -> Any:
    def make(folder: Path) -> Path:
        noise(mode).save(folder / "picture.png")
        return folder / "picture.png"

    return make


PICTURES = {mode: of_mode(mode) for mode in ("L", "LA", "RGB", "RGBA")} | {"P": palette, "CMYK": upright}


def read_as_written(picture: Path, form: Form, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """What the lines of a README make of a picture."""
    names: dict[str, Any] = {"sys": sys, "np": np, "Image": Image, "ImageOps": ImageOps}
    monkeypatch.setattr(sys, "argv", ["predict.py", str(picture)])
    exec(picture_lines(form), names)
    return np.array(names["picture"])


@pytest.mark.parametrize("channels", get_args(Channels))
@pytest.mark.parametrize("resize", get_args(Resize))
@pytest.mark.parametrize("kind", PICTURES)
def test_the_lines_of_a_readme_read_a_picture_of_any_kind_as_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, resize: Resize, channels: Channels
) -> None:
    form, picture = Form(12, 16, channels, resize, 0.8), PICTURES[kind](tmp_path)
    np.testing.assert_array_equal(read_as_written(picture, form, monkeypatch), decode(picture, form))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_they_refuse_a_picture_of_more_than_8_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[np.generic]
) -> None:
    Image.fromarray(np.arange(1200).reshape(30, 40).astype(kind)).save(tmp_path / "deep.tif")
    with pytest.raises(AssertionError, match="expected 8 bits per value"):
        read_as_written(tmp_path / "deep.tif", Form(12, 16), monkeypatch)


@pytest.mark.parametrize(("channels", "white"), [(1, True), (3, True), (4, False)])
def test_the_rule_says_what_transparent_and_deep_pictures_become(channels: Channels, white: bool) -> None:
    rule = resize_rule(Form(12, 16, channels))
    assert ("over white" in rule) == white
    assert "more than 8 bits" in rule
