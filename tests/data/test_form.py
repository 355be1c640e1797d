from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnn_registry.data.fitting import pixels
from cnn_registry.data.folder import load_folder
from cnn_registry.data.form import FILL, Form, in_proportion
from cnn_registry.data.image import decode
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.data.sources.load import load_forms

LANCZOS = Image.Resampling.LANCZOS


def ramp(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.dstack([x, y, np.full_like(x, 50)]).astype(np.uint8))


def stored(image: Image.Image) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream


@pytest.mark.parametrize("size", [(96, 160), (5, 9), (64, 20)])
def test_a_picture_is_squashed_to_a_rectangle(size: tuple[int, int]) -> None:
    image = ramp(200, 100)
    np.testing.assert_array_equal(decode(stored(image), Form(*size)), np.asarray(image.resize(size[::-1], LANCZOS)))


def test_a_crop_keeps_the_shape_and_loses_the_same_at_both_edges() -> None:
    wide = pixels(ramp(200, 100), Form(100, 100, resize="crop"))
    np.testing.assert_array_equal(wide, np.asarray(ramp(200, 100))[:, 50:150])
    high = pixels(ramp(80, 240), Form(40, 80, resize="crop"))
    np.testing.assert_array_equal(high, np.asarray(ramp(80, 240))[100:140])
    odd = ramp(131, 77)
    np.testing.assert_array_equal(
        pixels(odd, Form(30, 41, resize="crop")), np.asarray(ImageOps.fit(odd, (41, 30), LANCZOS))
    )


def test_a_letterbox_keeps_everything_and_fills_the_rest() -> None:
    image = ramp(200, 100)
    found = pixels(image, Form(120, 200, resize="letterbox"))
    np.testing.assert_array_equal(found[10:110], np.asarray(image))
    assert (found[[*range(10), *range(110, 120)]] == FILL[3]).all()
    odd = ramp(131, 77)
    padded = ImageOps.pad(odd, (30, 41), LANCZOS, color=FILL[3])
    np.testing.assert_array_equal(pixels(odd, Form(41, 30, resize="letterbox")), np.asarray(padded))
    assert pixels(ramp(250, 1), Form(8, 8, resize="letterbox")).shape == (8, 8, 3), "no edge gets lost"


def test_a_share_of_the_centre_is_cut_out_as_by_timm() -> None:
    image = ramp(200, 120)
    form = Form(112, 112, resize="crop", crop_share=0.875)
    assert form.frame == (128, 128)
    larger = ImageOps.fit(image, (128, 128), LANCZOS)
    np.testing.assert_array_equal(pixels(image, form), np.asarray(larger.crop((8, 8, 120, 120))))
    squashed = Form(50, 100, crop_share=0.5)
    np.testing.assert_array_equal(
        pixels(image, squashed), np.asarray(image.resize((200, 100), LANCZOS).crop((50, 25, 150, 75)))
    )
    assert Form(95, 95, crop_share=0.95).frame == (100, 100)
    assert form.at((50, 60)) == Form(50, 60, resize="crop"), "training sees all of it"


def test_what_is_seen_of_a_picture() -> None:
    def seen(form: Form) -> list[float]:
        return [round(edge, 4) for edge in form.seen(height=100, width=200)]

    assert seen(Form(30, 40)) == [0, 0, 1, 1]
    assert seen(Form(50, 50, resize="crop")) == [0.25, 0, 0.75, 1]
    assert seen(Form(50, 50, resize="letterbox")) == [0, -0.5, 1, 1.5]
    assert seen(Form(50, 50, resize="crop", crop_share=0.5)) == [0.375, 0.25, 0.625, 0.75]
    assert seen(Form(40, 80, crop_share=0.5)) == [0.25, 0.25, 0.75, 0.75]


def test_pictures_are_converted_to_the_channels_of_the_form() -> None:
    colours, grey = ramp(20, 10), ramp(20, 10).convert("L")
    clear = colours.copy()
    clear.putalpha(Image.fromarray(np.full((10, 20), 128, np.uint8)))
    np.testing.assert_array_equal(decode(stored(colours), Form(10, 20, 1))[..., 0], np.asarray(grey))
    np.testing.assert_array_equal(decode(stored(grey), Form(10, 20, 3)), np.asarray(grey)[..., None].repeat(3, 2))
    np.testing.assert_array_equal(decode(stored(grey), Form(10, 20, 1))[..., 0], np.asarray(grey))
    np.testing.assert_array_equal(decode(stored(clear), Form(10, 20, 4)), np.asarray(clear), "colours as they are")
    assert (decode(stored(colours), Form(10, 20, 4))[..., 3] == 255).all()
    over_white = (np.asarray(colours) * (128 / 255) + 127).round()
    np.testing.assert_allclose(decode(stored(clear), Form(10, 20, 3)), over_white, atol=1)
    boxed = pixels(clear, Form(20, 20, 4, resize="letterbox"))
    assert (boxed[0, 0] == FILL[4]).all()
    assert (boxed[5:15, :, 3] == 128).all()


def test_colours_are_resized_as_they_are_where_a_picture_is_transparent() -> None:
    image = ramp(64, 64)
    image.putalpha(Image.fromarray(np.where(np.arange(64) < 32, 0, 255).astype(np.uint8)[None].repeat(64, 0)))
    found = pixels(image, Form(16, 16, 4))
    np.testing.assert_array_equal(found[..., :3], pixels(image.convert("RGB"), Form(16, 16)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_cached_picture_is_the_decoded_one_whatever_its_form(tmp_path: Path, channels: int) -> None:
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        ramp(30, 20).rotate(ord(name)).save(tmp_path / "set" / name / "0.png")
    dataset = load_folder(tmp_path / "set")
    forms = [Form(12, 20, channels), Form(12, 20, channels, "crop"), Form(12, 20, channels, "letterbox", 0.8)]
    for _ in range(2):  # decoded, and read
        loaded = load_forms(dataset, forms)
        for form in forms:
            expected = [decode(file, form) for file in dataset.images]
            found = loaded[form].source.read(np.arange(2))
            np.testing.assert_array_equal(found, expected)
            assert found.shape == (2, *form.shape)
    streamed = load_forms(dataset, forms, memory_limit=0)
    np.testing.assert_array_equal(
        streamed[forms[1]].source.read(np.arange(2)), loaded[forms[1]].source.read(np.arange(2))
    )
    assert len({form.key for form in [*forms, Form(12, 12), Form(12, 12, 1)]}) == 5
    assert Form(12, 12).key == "12", "entries of earlier versions are found"


@pytest.mark.parametrize("kind", ["unit", "signed", "imagenet", "caffe"])
def test_values_are_scaled_in_any_number_of_channels(kind: str) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4)).astype(np.float32)
    rgb = scale(rgba[..., :3], kind)  # type: ignore[arg-type]  # one of them
    found = scale(rgba, kind)  # type: ignore[arg-type]  # as above
    np.testing.assert_array_equal(found[..., :3], rgb)
    alpha = {"unit": rgba / 255, "signed": rgba / 127.5 - 1, "imagenet": rgba / 255, "caffe": rgba}[kind][..., 3]
    np.testing.assert_allclose(found[..., 3], alpha, rtol=1e-6)
    grey = np.repeat(rgba[..., :1], 3, axis=-1)
    single = scale(grey[..., :1], kind)  # type: ignore[arg-type]  # as above
    np.testing.assert_allclose(single[..., 0], scale(grey, kind).mean(-1), atol=0.05 if kind == "imagenet" else 1e-4)  # type: ignore[arg-type]  # as above


def test_a_shorter_edge_stands_for_a_size_in_proportion() -> None:
    assert in_proportion(64, 96, 160) == (64, 107)
    assert in_proportion(64, 160, 96) == (107, 64)
    assert in_proportion(64, 96, 96) == (64, 64)
    assert in_proportion((10, 20), 96, 96) == (10, 20)
