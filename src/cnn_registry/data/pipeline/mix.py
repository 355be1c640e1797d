"""Two images made one, and their labels with them: mixup and CutMix.

Each image of a batch is mixed with its neighbour by a mask between 0 and 1: the same value everywhere (mixup), or 1 in
a box and 0 around it (CutMix). What share of an image is its neighbour's is the mask's mean, and that of its label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cnn_registry import backend

if TYPE_CHECKING:
    from tensorflow import Tensor

Alpha = Annotated[float, Field(ge=0, le=1000)]
"""From all or nothing to nearly always a half."""


class Mixing(BaseModel):
    """How images are mixed in pairs. By default they are not.

    With both kinds, each image is given one of them at random.

    Attributes:
        mixup: both parameters of the beta distribution of a neighbour's weight; 0 for none. Zhang et al. 2017
            (https://arxiv.org/abs/1710.09412).
        cutmix: likewise of the share of the area that a neighbour's box has; the box may lie partly outside of the
            image. Yun et al. 2019 (https://arxiv.org/abs/1905.04899).
        since: share of the epochs before which images are not mixed yet: a network learns faster from plain ones, and
            needs mixed ones once it begins to know its images by heart.
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
        """Whether anything is mixed."""
        return bool(self.mixup or self.cutmix)

    def mixes_at(self, progress: float) -> bool:
        """Whether images are mixed after that share of the epochs."""
        return self.mixes and self.since <= progress < self.until


UNMIXED = Mixing()


def mix(images: Tensor, labels: Tensor, seed: Tensor, config: Mixing) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with the one before it, the first with the last.

    Args:
        images: ``(B, H, W, 3)``, float32.
        labels: ``(B, classes)``, float32.
        seed: ``(2,)``, int32; the same seed and batch give the same result.
        config: how to mix; at least one kind.

    Returns:
        Images and labels, of the same shapes.
    """
    tf = backend.tensorflow()
    number = tf.shape(images)[0]
    # Draws of their own: those of `seed` itself are the crops'.
    seed, *seeds = tf.unstack(tf.random.split(seed, 3))
    uniform = tf.unstack(tf.random.stateless_uniform((number, 3), seed), axis=1)
    alphas = (config.mixup, config.cutmix)
    even, boxed = (_beta(number, own, alpha)[:, None, None, None] for own, alpha in zip(seeds, alphas, strict=True))
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
    return one / tf.maximum(one + other, 1e-30)  # both may underflow to zero where alpha is small


def _boxes(area: Tensor, centre: list[Tensor], shape: Tensor) -> Tensor:
    """``(B, H, W, 1)``: 1 in a box of the image's own proportions with that share of its area, where it is inside."""
    tf = backend.tensorflow()
    half = tf.sqrt(area) / 2

    def along(axis: int) -> Tensor:
        places = (tf.range(shape[axis], dtype=tf.float32) + 0.5) / tf.cast(shape[axis], tf.float32)
        places = tf.reshape(places, [1, -1, 1, 1] if axis == 1 else [1, 1, -1, 1])
        return tf.abs(places - centre[axis - 1][:, None, None, None]) < half

    return tf.cast(along(1) & along(2), tf.float32)
