from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from cnn_registry.data.pipeline.mix import Mixing, mix

NUMBER, SIZE = 256, 24
EACH = np.arange(NUMBER)


def mixed(config: Mixing, seed: int = 0, number: int = NUMBER) -> tuple[np.ndarray, np.ndarray]:
    """Mixed images that were alternately 0 and 1, so that the pixels of the even ones are the mask."""
    images = np.broadcast_to((EACH[:number] % 2).astype(np.float32)[:, None, None, None], (number, SIZE, SIZE, 3))
    images, labels = mix(images, np.eye(number, dtype=np.float32), np.array([seed, 7], np.int32), config)
    return np.asarray(images), np.asarray(labels)


def masks(config: Mixing, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``(256, 24, 24)``: how much of each pixel is the neighbour's; and ``(256,)``, how much of the label."""
    images, labels = mixed(config, seed)
    own = (EACH % 2)[:, None, None, None]
    return np.abs(images - own)[..., 0], labels[EACH, EACH - 1]


@pytest.mark.parametrize("config", [Mixing(mixup=0.4), Mixing(cutmix=1), Mixing(mixup=0.4, cutmix=1)])
def test_a_label_has_as_much_of_the_neighbour_as_the_image(config: Mixing) -> None:
    _, labels = mixed(config)
    mask, share = masks(config)
    np.testing.assert_allclose(share, mask.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(labels[EACH, EACH], 1 - share, atol=1e-6)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert len(np.unique(share.round(3))) > NUMBER / 4


def test_mixup_weighs_all_pixels_alike_as_its_beta_distribution_does() -> None:
    mask, share = masks(Mixing(mixup=0.5))
    np.testing.assert_allclose(mask, np.broadcast_to(share[:, None, None], mask.shape), atol=1e-6)
    # The variance of a beta distribution with both parameters alpha is 1 / (8 alpha + 4).
    assert np.mean(share) == pytest.approx(0.5, abs=0.08)
    assert np.var(share) == pytest.approx(1 / 8, abs=0.025)


def test_cutmix_pastes_one_box_of_the_neighbour() -> None:
    mask, share = masks(Mixing(cutmix=1))
    assert set(np.unique(mask)) == {0.0, 1.0}
    for box in mask:
        rows, columns = box.any(axis=1), box.any(axis=0)
        np.testing.assert_array_equal(box, np.outer(rows, columns))
        for inside in (rows, columns):
            assert np.count_nonzero(np.diff(np.flatnonzero(inside)) > 1) == 0
    # Half of the area on average, less what lies outside of the image.
    assert 0.2 < share.mean() < 0.5
    assert (mask.any(axis=0)).all(), "some place is never pasted over"


def test_with_both_kinds_each_image_has_one_of_them() -> None:
    mask, _ = masks(Mixing(mixup=0.8, cutmix=1))
    even = mask.std(axis=(1, 2)) < 1e-6
    assert 0.3 < even.mean() < 0.7
    assert set(np.unique(mask[~even])) == {0.0, 1.0}


def test_the_same_seed_mixes_alike() -> None:
    config = Mixing(mixup=0.4, cutmix=1)
    first, again, other = (mixed(config, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_an_image_alone_is_mixed_with_itself() -> None:
    images, labels = mixed(Mixing(mixup=0.4, cutmix=1), number=1)
    np.testing.assert_array_equal(images, np.zeros((1, SIZE, SIZE, 3)))
    np.testing.assert_array_equal(labels, [[1]])


@pytest.mark.parametrize("alpha", [1e-30, 1e-3, 1e3])
def test_extreme_distributions_give_numbers(alpha: float) -> None:
    mask, share = masks(Mixing(mixup=alpha))
    assert np.isfinite(mask).all()
    assert ((share >= 0) & (share <= 1)).all()


def test_nothing_is_mixed_by_default() -> None:
    assert not Mixing().mixes
    assert Mixing(mixup=0.1).mixes
    assert Mixing(cutmix=0.1).mixes


@pytest.mark.parametrize(
    "wrong",
    [
        {"mixup": -1},
        {"mixup": np.inf},
        {"cutmix": -0.1},
        {"cutmix": np.nan},
        {"until": 0},
        {"until": 1.5},
        {"since": 1},
        {"since": 0.5, "until": 0.5},
        {"mix": 1},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Mixing(**wrong)
