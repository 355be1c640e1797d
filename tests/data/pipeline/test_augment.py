from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cnn_registry.data.pipeline.augment import Augmentation, augment

FULL = Augmentation(crop_area=(0.3, 1.0), flip=True, brightness=0.2, contrast=0.2, saturation=0.2)


def varied(images: np.ndarray, config: Augmentation, seed: int = 0) -> np.ndarray:
    return np.asarray(augment(images, np.array([seed, 7], np.int32), config, images.shape[1]))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)


@pytest.fixture
def ramp() -> np.ndarray:
    """64 times the same image: red is x, green is y."""
    x, y = np.meshgrid(np.arange(32) * 8, np.arange(32) * 8)
    return np.stack([np.stack([x, y, 0 * x], axis=2)] * 64).astype(np.uint8)


def test_nothing_to_vary_is_a_cast_alone(images: np.ndarray) -> None:
    same = varied(images, Augmentation())
    assert same.dtype == np.float32
    np.testing.assert_array_equal(same, images)


def test_the_same_seed_gives_the_same_batch(images: np.ndarray) -> None:
    first, again, other = (varied(images, FULL, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_values_stay_in_range_and_shape(images: np.ndarray) -> None:
    result = varied(images, Augmentation(crop_area=(0.1, 1.0), flip=True, brightness=1, contrast=1, saturation=1))
    assert result.shape == images.shape
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 255


def test_half_of_the_images_are_mirrored_and_the_others_untouched(images: np.ndarray) -> None:
    result = varied(images, Augmentation(flip=True))
    mirrored = np.isclose(result, images[:, :, ::-1], atol=1e-2).all(axis=(1, 2, 3))
    same = np.isclose(result, images, atol=1e-2).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 20 < mirrored.sum() < 44


def test_each_image_has_its_own_crop_of_the_wanted_area_and_aspect(ramp: np.ndarray) -> None:
    result = varied(ramp, Augmentation(crop_area=(0.25, 0.5), crop_aspect=(0.8, 1.25)))
    width = (result[:, 0, -1, 0] - result[:, 0, 0, 0]) / (31 * 8)
    height = (result[:, -1, 0, 1] - result[:, 0, 0, 1]) / (31 * 8)
    left, top = result[:, 0, 0, 0], result[:, 0, 0, 1]
    for drawn in (width, height, left, top):
        assert len(np.unique(drawn.round(3))) > 40
    assert (width * height).min() > 0.249
    assert (width * height).max() < 0.501
    assert (width / height).min() > 0.799
    assert (width / height).max() < 1.251


def test_a_zoom_cuts_a_square_out_of_a_larger_image(ramp: np.ndarray) -> None:
    result = varied(ramp, Augmentation(zoom=(1.25, 2.0)))
    width = (result[:, 0, -1, 0] - result[:, 0, 0, 0]) / (31 * 8)
    height = (result[:, -1, 0, 1] - result[:, 0, 0, 1]) / (31 * 8)
    np.testing.assert_allclose(width, height, atol=1e-3)
    assert 1.24 < (1 / width).min() < 1.35
    assert 1.9 < (1 / width).max() < 2.01
    assert abs((1 / width).mean() - 1.625) < 0.1


def test_a_crop_never_leaves_the_image(ramp: np.ndarray) -> None:
    # What lies outside would be black, so the red of a mirrored or cropped ramp would jump.
    result = varied(ramp, Augmentation(crop_area=(0.9, 1.0), crop_aspect=(0.5, 2.0), flip=True))
    steps = np.diff(result[..., 0], axis=2)
    assert np.abs(steps).max() < 8.01


def test_a_crop_is_turned_about_its_centre_by_at_most_the_angle(ramp: np.ndarray) -> None:
    result = varied(ramp, Augmentation(crop_area=(0.2, 0.2), crop_aspect=(1.0, 1.0), rotation=30))
    # One pixel to the right is (cos, sin) of the angle on the ramp, times the crop's scale; the outermost may be
    # mirrored at the image's edge.
    right, down = result[:, 16, 17] - result[:, 16, 16], result[:, 17, 16] - result[:, 16, 16]
    angles = np.degrees(np.arctan2(right[:, 1], right[:, 0]))
    assert 25 < angles.max() < 30
    assert -30 < angles.min() < -25
    assert len(np.unique(angles.round(3))) > 40
    np.testing.assert_allclose(np.degrees(np.arctan2(-down[:, 0], down[:, 1])), angles, atol=0.1)
    np.testing.assert_allclose(np.hypot(*right[:, :2].T), 8 * np.sqrt(0.2), rtol=1e-3)


def test_the_smallest_rotation_changes_nothing_but_by_rounding(images: np.ndarray) -> None:
    upright, turned = (varied(images, FULL.model_copy(update={"rotation": angle})) for angle in (0.0, 1e-4))
    np.testing.assert_allclose(turned, upright, atol=0.1)


def test_what_a_rotation_brings_into_the_picture_is_mirrored(images: np.ndarray) -> None:
    bright = images // 4 + 190
    assert varied(bright, Augmentation(rotation=180)).min() > 189


def test_brightness_scales_all_values_of_an_image_alike(ramp: np.ndarray) -> None:
    dim = ramp // 2
    factors = varied(dim, Augmentation(brightness=0.2))[:, 1:, 1:, :2] / dim[:, 1:, 1:, :2]
    assert np.ptp(factors, axis=(1, 2, 3)).max() < 1e-4
    of_images = factors.mean(axis=(1, 2, 3))
    assert of_images.min() > 0.799
    assert of_images.max() < 1.201
    assert of_images.std() > 0.05


def test_contrast_keeps_the_mean_grey_and_changes_the_spread(images: np.ndarray) -> None:
    middle = images // 2 + 64
    luma = np.array([0.299, 0.587, 0.114])
    result = varied(middle, Augmentation(contrast=0.3))
    np.testing.assert_allclose((result @ luma).mean(axis=(1, 2)), (middle @ luma).mean(axis=(1, 2)), rtol=1e-4)
    spread = result.std(axis=(1, 2, 3)) / middle.std(axis=(1, 2, 3))
    assert 0.69 < spread.min() < 0.85
    assert 1.15 < spread.max() < 1.31


def test_saturation_keeps_the_grey_of_every_pixel(images: np.ndarray) -> None:
    middle = images // 2 + 64
    luma = np.array([0.299, 0.587, 0.114])
    result = varied(middle, Augmentation(saturation=0.3))
    np.testing.assert_allclose(result @ luma, middle @ luma, atol=0.01)
    assert np.abs(result - middle).max() > 5


def test_all_together_keep_the_mean_colour_roughly(images: np.ndarray) -> None:
    assert abs(varied(images, FULL).mean() - images.mean()) < 6


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_area": (0.0, 1.0)},
        {"crop_area": (0.8, 0.3)},
        {"crop_area": (0.5, 1.1)},
        {"crop_aspect": (2.0, 0.5)},
        {"crop_aspect": (0.0, 1.0)},
        {"zoom": (0.9, 1.0)},
        {"zoom": (1.0, 2.0), "crop_area": (0.5, 1.0)},
        {"brightness": -0.1},
        {"contrast": 1.1},
        {"rotation": 181},
        {"rotations": 10},
    ],
)
def test_settings_out_of_range_or_unknown_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**settings)
