"""JPEG files that are decoded at a part of their size."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data.folder import load_folder
from cnn_registry.data.form import Form
from cnn_registry.data.image import decode
from cnn_registry.data.sources.load import load_forms
from cnn_registry.recipes.load import load_recipe

REDUCED = Form(50, 40, reduced=True)


def photograph(width: int, height: int, turn: int = 1) -> BytesIO:
    """A JPEG with edges and slopes, which is to be turned."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x // 40 + y // 30) % 2 * 200], axis=-1)
    stream, exif = BytesIO(), Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG", quality=90, exif=exif)
    return stream


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
def test_pixels_differ_a_little(turn: int, resize: str) -> None:
    stream = photograph(160, 120, turn)
    form = Form(50, 40, resize=resize, reduced=True)  # type: ignore[arg-type]  # it is one of them
    exact, reduced = decode(stream, form.exact), decode(stream, form)
    difference = np.abs(exact.astype(int) - reduced)
    assert 0 < difference.mean() < 4
    assert reduced.shape == (50, 40, 3)


def test_files_that_are_small_or_of_other_formats_are_exact(tmp_path: Path) -> None:
    small = photograph(79, 100)
    np.testing.assert_array_equal(decode(small, REDUCED), decode(small, REDUCED.exact))
    with Image.open(photograph(160, 120)) as image:
        image.save(tmp_path / "1.png")
    np.testing.assert_array_equal(decode(tmp_path / "1.png", REDUCED), decode(tmp_path / "1.png", REDUCED.exact))


def test_only_training_on_images_that_do_not_fit_into_memory_is_reduced(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(photograph(160, 120).getvalue())
    recipe = load_recipe("default").with_settings({"decoding": "reduced"})
    training, evaluation = recipe.decoded_form((50, 40, 3)), recipe.form((50, 40, 3))
    assert (training.reduced, evaluation.reduced) == (True, False)
    for limit, same in ((None, True), (0, False)):
        loaded = load_forms(load_folder(tmp_path), (REDUCED, REDUCED.exact), memory_limit=limit)
        one, other = (loaded[form].source.read(np.arange(2)) for form in (REDUCED, REDUCED.exact))
        assert np.array_equal(one, other) is same
        np.testing.assert_array_equal(other[0], decode(tmp_path / "a" / "1.jpg", REDUCED.exact))
