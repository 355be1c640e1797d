"""Mix pairs of images and their labels: Mixup and CutMix.

Each image of a batch is mixed with its neighbour by a mask between 0 and 1: the same value everywhere (Mixup), or 1 in
a box and 0 around it (CutMix). The mean of the mask is the neighbour's share of the image and of the label.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cnn_registry import backend

from .augment import Rows, own_draws, uniforms

if TYPE_CHECKING:
    from tensorflow import Tensor

Alpha = Annotated[float, Field(ge=0, le=1000)]
"""0 switches it off. Small values mostly mix little; large ones give both images nearly the same weight."""


class Mixing(BaseModel):
    """How images are mixed in pairs; by default, they are not.

    If both kinds are set, each image gets one of them at random.

    Attributes:
        mixup: both parameters of the beta distribution from which the neighbour's weight is drawn; 0 for no Mixup.
            Zhang et al. 2017 (https://arxiv.org/abs/1710.09412).
        cutmix: both parameters of the beta distribution from which the area of the neighbour's box is drawn, as a share
            of the image; 0 for no CutMix. The box may lie partly outside the image. Yun et al. 2019
            (https://arxiv.org/abs/1905.04899).
        since: share of the epochs before which images are not mixed. A network learns faster from unmixed images, and
            needs mixed ones once it begins to memorise.
        until: share of the epochs after which images are no longer mixed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0
    since: Annotated[float, Field(ge=0, lt=1)] = 0.0
    until: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Mixing:
        if self.since >= self.until:
            raise ValueError(f"since must be less than until; got {self.since} and {self.until}")
        return self

    @property
    def mixes(self) -> bool:
        """Whether images are mixed at any time."""
        return bool(self.mixup or self.cutmix)

    def mixes_at(self, progress: float) -> bool:
        """Whether images are mixed after this share of the epochs."""
        return self.mixes and self.since <= progress < self.until


UNMIXED = Mixing()


def mix(
    images: Tensor, labels: Tensor, seed: Tensor, config: Mixing, rows: Rows | None = None
) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with the one before it, the first with the last.

    Args:
        images: ``(B, H, W, C)``, float32.
        labels: ``(B, classes)``, float32.
        seed: ``(2,)``, int32; the same seed and batch give the same result.
        config: how to mix; at least one kind.
        rows: of a part of a batch whose first image is the one before the part; it is mixed as in the whole batch.

    Returns:
        Images and labels, of the same shapes. The first image of a part of a batch is not mixed.
    """
    tf = backend.tensorflow()
    number = tf.shape(images)[0]
    # The draws from `seed` itself are used for the crops.
    seed, *seeds = tf.unstack(tf.random.split(seed, 3))
    uniform = tf.unstack(own_draws(rows, number, lambda number: uniforms((number, 3), seed)), axis=1)
    alphas = (config.mixup, config.cutmix)
    even, boxed = (
        own_draws(rows, number, functools.partial(_beta, seed=own, alpha=alpha))[:, None, None, None]
        for own, alpha in zip(seeds, alphas, strict=True)
    )
    boxed = _boxes(boxed, uniform[:2], tf.shape(images))
    if config.mixup and config.cutmix:
        mask = tf.where(uniform[2][:, None, None, None] < 0.5, even, boxed)
    else:
        mask = even if config.mixup else boxed
    images += mask * (tf.roll(images, 1, axis=0) - images)
    labels += tf.reduce_mean(mask, axis=(1, 2)) * (tf.roll(labels, 1, axis=0) - labels)
    return images, labels


def _beta(number: Tensor, seed: Tensor, alpha: float) -> Tensor:
    """``(number,)`` draws of a beta distribution with both parameters ``alpha``; zeros for 0."""
    tf = backend.tensorflow()
    if not alpha:
        return tf.zeros(number)
    one, other = tf.unstack(tf.random.stateless_gamma((2, number), seed, alpha))
    return one / tf.maximum(one + other, 1e-30)  # both may underflow to zero if alpha is small


def _boxes(area: Tensor, centre: list[Tensor], shape: Tensor) -> Tensor:
    """``(B, H, W, 1)``: 1 in a box with the image's aspect ratio and that share of its area, 0 elsewhere."""
    tf = backend.tensorflow()
    half = tf.sqrt(area) / 2

    def along(axis: int) -> Tensor:
        places = (tf.range(shape[axis], dtype=tf.float32) + 0.5) / tf.cast(shape[axis], tf.float32)
        places = tf.reshape(places, [1, -1, 1, 1] if axis == 1 else [1, 1, -1, 1])
        return tf.abs(places - centre[axis - 1][:, None, None, None]) < half

    return tf.cast(along(1) & along(2), tf.float32)
