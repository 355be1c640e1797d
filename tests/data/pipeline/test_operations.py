from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cnn_registry.data.pipeline import operations
from cnn_registry.data.pipeline.augment import Augmentation, augment
from cnn_registry.data.pipeline.operations import OPERATIONS, RAND, TRIVIAL, Operation, Ranges

BILINEAR = Image.Resampling.BILINEAR
Known = Callable[[Image.Image], Image.Image]


def photo(seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(10, 230, (5, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((40, 28), Image.Resampling.BICUBIC)


def affine(*numbers: float) -> Known:
    # Pillow's places are those of the corners of pixels, and ours are those of their middles.
    a, b, c, d, e, f = numbers
    moved = (a, b, c + 0.5 - 0.5 * a - 0.5 * b, d, e, f + 0.5 - 0.5 * d - 0.5 * e)
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, moved, BILINEAR)


CASES: list[tuple[Operation, Ranges, float, Known]] = [
    (operations.unchanged, RAND, 0.5, lambda image: image),
    (operations.auto_contrast, RAND, 0.5, ImageOps.autocontrast),
    (operations.equalize, RAND, 0.5, ImageOps.equalize),
    (operations.solarize, RAND, 0.5, lambda image: ImageOps.solarize(image, 128)),
    (operations.posterize, RAND, 0.5, lambda image: ImageOps.posterize(image, 6)),
    (operations.posterize, TRIVIAL, 1.0, lambda image: ImageOps.posterize(image, 2)),
    (operations.colour, RAND, 1.0, lambda image: ImageEnhance.Color(image).enhance(1.9)),
    (operations.contrast, RAND, 0.0, lambda image: ImageEnhance.Contrast(image).enhance(0.1)),
    (operations.brightness, RAND, 0.5, lambda image: ImageEnhance.Brightness(image).enhance(1.0)),
    (operations.brightness, TRIVIAL, 1.0, lambda image: ImageEnhance.Brightness(image).enhance(2.0)),
    (operations.sharpness, RAND, 0.0, lambda image: Image.blend(image.filter(ImageFilter.SMOOTH), image, 0.1)),
    (operations.sharpness, RAND, 1.0, lambda image: ImageEnhance.Sharpness(image).enhance(1.9)),
    (operations.rotate, RAND, 1.0, lambda image: image.rotate(30, BILINEAR)),
    (operations.shear_x, RAND, 1.0, affine(1, 0.3, 0, 0, 1, 0)),
    (operations.shear_y, TRIVIAL, 0.5, affine(1, 0, 0, 0.495, 1, 0)),
    (operations.translate_x, TRIVIAL, 0.25, affine(1, 0, 8, 0, 1, 0)),
    (operations.translate_y, RAND, 0.5, affine(1, 0, 0, 0, 1, 0.5 * 150 / 331 * 28)),
]


@pytest.mark.parametrize(
    ("operation", "ranges", "strength", "known"), CASES, ids=[f"{case[0].__name__}-{case[2]}" for case in CASES]
)
def test_operations_are_those_of_pillow(operation: Operation, ranges: Ranges, strength: float, known: Known) -> None:
    image = photo()
    given = tf.constant(np.asarray(image), tf.float32)
    found = np.asarray(operation(given, tf.constant(strength), tf.constant(1.0), ranges))
    difference = np.abs(np.round(found) - np.asarray(known(image), np.float32))
    if "transform" in known.__code__.co_names or "rotate" in known.__code__.co_names:
        difference = difference[2:-2, 2:-2]  # at an edge, Pillow takes nothing from outside
        assert np.mean(difference > 2) < 0.05
    else:
        assert difference.max() <= 1
    alpha = np.full((28, 40, 1), 77, np.float32)
    rgba = np.asarray(operation(tf.concat([given, alpha], -1), tf.constant(strength), tf.constant(1.0), ranges))
    np.testing.assert_allclose(rgba[..., :3], found, atol=1e-3)
    if operation in OPERATIONS[1:3] + OPERATIONS[4:10]:
        assert (rgba[..., 3] == 77).all()
    single = operation(given[..., :1], tf.constant(strength), tf.constant(1.0), ranges)
    assert single.shape == (28, 40, 1)


def drawn(images: np.ndarray, seed: int = 0, **settings: Any) -> np.ndarray:
    size = images.shape[1:3]
    return np.asarray(augment(images, np.array([seed, 7], np.int32), Augmentation(**settings), size))


IMAGES = np.stack([np.asarray(photo(seed)) for seed in range(64)])

SETTINGS: list[dict[str, Any]] = [
    {"trivial_augment": True},
    {"rand_augment": 2},
    {"grayscale": 0.5},
    {"blur": 2.0},
    {"erasing": 0.5},
    {"vertical_flip": True},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: next(iter(settings)))
def test_draws_depend_on_the_seed_alone_and_on_the_place_in_the_batch(settings: dict[str, Any]) -> None:
    first = drawn(IMAGES, **settings)
    np.testing.assert_array_equal(drawn(IMAGES, **settings), first)
    assert not np.array_equal(drawn(IMAGES, 1, **settings), first)
    assert first.shape == IMAGES.shape
    assert first.dtype == np.float32
    assert 0 <= first.min() <= first.max() <= 255
    same = np.stack([IMAGES[0]] * 64)
    assert len({image.tobytes() for image in drawn(same, **settings)}) > 1, "images vary independently"
    for channels in (1, 4):
        given = np.concatenate([IMAGES, IMAGES[..., :1]], -1)[..., :channels]
        assert drawn(given, **settings).shape == given.shape


def test_a_vertical_flip_turns_half_of_the_images_upside_down() -> None:
    found = drawn(IMAGES, vertical_flip=True)
    flipped = [bool((image == given[::-1]).all()) for image, given in zip(found, IMAGES, strict=True)]
    kept = [bool((image == given).all()) for image, given in zip(found, IMAGES, strict=True)]
    assert sum(flipped) + sum(kept) == 64
    assert 16 < sum(flipped) < 48


def test_grayscale_makes_some_images_grey() -> None:
    found = drawn(IMAGES, grayscale=0.25)
    is_grey = (np.ptp(found, axis=-1) < 1e-3).all(axis=(1, 2))
    assert 4 < is_grey.sum() < 30
    np.testing.assert_array_equal(found[~is_grey], IMAGES[~is_grey])
    np.testing.assert_allclose(found[is_grey][..., 0], IMAGES[is_grey] @ [0.299, 0.587, 0.114], atol=1e-3)


def test_a_blur_is_a_gaussian_of_each_images_own_width() -> None:
    dots = np.zeros((64, 41, 41, 3), np.uint8)
    dots[:, 20, 20] = 255
    found = drawn(dots, blur=3.0) / 255
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, atol=1e-4)
    places = np.arange(41) - 20
    deviations = np.sqrt((found[..., 0].sum(axis=1) * places**2).sum(axis=1))
    assert deviations.min() < 0.6
    assert 2.5 < deviations.max() <= 3.0
    assert deviations.mean() == pytest.approx(1.5, abs=0.3)
    flat = np.full((2, 3, 5, 3), 90, np.uint8)
    np.testing.assert_allclose(drawn(flat, blur=9.0), flat, atol=1e-3)


def test_erasing_fills_a_box_of_some_images_with_noise() -> None:
    black = np.zeros((400, 30, 60, 3), np.uint8)
    erased = np.asarray(drawn(black, erasing=0.5).max(axis=-1) > 0)
    chosen = np.asarray(erased.any(axis=(1, 2)))
    assert chosen.mean() == pytest.approx(0.5, abs=0.08)
    for box in erased[chosen][:40]:
        rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
        assert box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "it is one box"
    areas = erased[chosen].mean(axis=(1, 2))
    assert areas.max() <= 0.43
    assert areas.mean() == pytest.approx(0.2, abs=0.04)


def test_what_exists_is_computed_as_before() -> None:
    """With everything new off, results are bit for bit those of the code that had nothing of it."""
    settings = {"crop_area": (0.3, 1.0), "flip": True, "rotation": 15.0, "brightness": 0.2, "saturation": 0.2}
    images, seed = IMAGES[:, :, :28], np.array([3, 5], np.int32)
    found = np.asarray(augment(images, seed, Augmentation(**settings), 20))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, as_before(images, seed, 20))
    dynamic = augment(images, seed, Augmentation(**settings), tf.constant([20, 20]))  # type: ignore[arg-type]
    np.testing.assert_array_equal(dynamic, found)


def as_before(images: np.ndarray, seed: np.ndarray, size: int) -> np.ndarray:
    """Crops, flips, rotations, brightness and saturation of squares, as they were written first."""
    uniform = tf.unstack(tf.random.stateless_uniform((len(images), 8), seed), axis=1)
    area = 0.3 + uniform[0] * (1.0 - 0.3)
    low, high = np.log(3 / 4), np.log(4 / 3)
    aspect = tf.exp(low + uniform[1] * (high - low))
    height, width = tf.minimum(tf.sqrt(area / aspect), 1.0), tf.minimum(tf.sqrt(area * aspect), 1.0)
    y1, x1 = uniform[2] * (1 - height), uniform[3] * (1 - width)
    y2, x2 = y1 + height, x1 + width
    mirrored = uniform[4] < 0.5
    x1, x2 = tf.where(mirrored, x2, x1), tf.where(mirrored, x1, x2)
    last = tf.cast(tf.shape(images)[1:3] - 1, tf.float32)
    y1, x1, y2, x2 = tf.unstack(tf.stack([y1, x1, y2, x2], axis=1) * tf.tile(last, [2]), axis=1)
    turn = tf.random.stateless_uniform((len(images),), tf.random.experimental.stateless_fold_in(seed, 1))
    angles = np.radians(15.0) * (-1 + turn * 2)
    end = tf.cast(max(size - 1, 1), tf.float32)
    height, width = (y2 - y1) / end, (x2 - x1) / end
    cos, sin, middle = tf.cos(angles), tf.sin(angles), tf.cast(size - 1, tf.float32) / 2
    xx, xy, yx, yy = cos * width, -sin * height, sin * width, cos * height
    x, y = (x1 + x2) / 2 - (xx + xy) * middle, (y1 + y2) / 2 - (yx + yy) * middle
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([xx, xy, x, yx, yy, y, tf.zeros_like(x), tf.zeros_like(x)], axis=1),
        output_shape=tf.stack([size, size]),
        fill_value=0.0,
        fill_mode="REFLECT",
        interpolation="BILINEAR",
    )
    widths = (0.2, 0.0, 0.2)
    bright, contrast, saturation = (
        ((1 - width) + draw * ((1 + width) - (1 - width)))[:, None, None]
        for draw, width in zip(uniform[5:], widths, strict=True)
    )
    luma = tf.constant((0.299, 0.587, 0.114))[:, None]
    matrix = bright * contrast * (saturation * tf.eye(3) + (1 - saturation) * tf.tile(luma, (1, 3)))
    mean_grey = tf.reduce_mean(turned, axis=(1, 2))[:, None, :] @ luma
    coloured = tf.reshape(turned, (len(images), -1, 3)) @ matrix + bright * (1 - contrast) * mean_grey
    return np.asarray(tf.clip_by_value(tf.reshape(coloured, turned.shape), 0.0, 255.0))
