"""JPEG files that are decoded at a part of their size."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_registry.data.dataset import ImageDataset
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


@pytest.mark.parametrize(("width", "height", "format"), [(79, 100, "JPEG"), (160, 99, "JPEG"), (160, 120, "PNG")])
def test_files_that_are_small_or_of_other_formats_are_decoded_whole(width: int, height: int, format: str) -> None:
    stream = photograph(width, height)
    if format != "JPEG":
        with Image.open(stream) as image:
            image.save(stream := BytesIO(), format)
    with Image.open(stream) as image:
        whole = np.asarray(image.resize((40, 50), Image.Resampling.HAMMING))
    np.testing.assert_array_equal(decode(stream, REDUCED), whole)


def test_arrays_in_memory_are_exact() -> None:
    with Image.open(photograph(160, 120)) as image:
        images = np.asarray(image)[None]
    dataset = ImageDataset("one", ("a",), ("1",), np.zeros(1, np.int64), images, {}, None, "here", None)
    one, other = (load_forms(dataset, (form,))[form].source.read(np.arange(1)) for form in (REDUCED, REDUCED.exact))
    np.testing.assert_array_equal(one, other)


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
