"""RandAugment and TrivialAugment: a few of fourteen operations for each image, and nothing else is computed.

The operations are those of Cubuk et al. 2019 (https://arxiv.org/abs/1909.13719, section 3), as Pillow has them.
Colours are changed, alpha is not; moves change both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from cnn_registry import backend

if TYPE_CHECKING:
    from tensorflow import Tensor

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, the grey of an RGB colour."""


class Ranges(NamedTuple):
    """What the operations do at full strength; at none they do nothing, except for the factors.

    Attributes:
        shear: pixels to the side for each pixel of height or width.
        shift: pixels; or, if less than 1, a share of the height or width.
        angle: degrees.
        bits: that are kept of 8.
        factors: of colour, contrast, brightness and sharpness, at no strength and at full strength.
    """

    shear: float
    shift: float
    angle: float
    bits: int
    factors: tuple[float, float]


RAND = Ranges(shear=0.3, shift=150 / 331, angle=30, bits=4, factors=(0.1, 1.9))
"""Those of AutoAugment, whose scale RandAugment takes: Cubuk et al. 2018 (https://arxiv.org/abs/1805.09501), the table
of all image transformations in the appendix. Shifts are up to 150 pixels in images of 331."""

TRIVIAL = Ranges(shear=0.99, shift=32, angle=135, bits=2, factors=(0.01, 2.0))
"""The wide space of Müller & Hutter 2021 (https://arxiv.org/abs/2103.10158), with the numbers of their reference code
(``"wide"`` in ``aug_lib.py`` of https://github.com/automl/trivialaugment)."""

STRENGTHS = 30
"""TrivialAugment draws a strength from 0 to this, which is the full one."""

FULL_MAGNITUDE = 10
"""RandAugment's magnitude of full strength."""


def rand_augment(images: Tensor, uniform: Tensor, magnitude: float) -> Tensor:
    """Some operations for each image, drawn with replacement, all at one magnitude from 0 to 10.

    Args:
        images: ``(B, H, W, C)``, float32, 0 to 255.
        uniform: draws from 0 to 1, ``(B, 2, N)``, for N operations of each image and their directions.
        magnitude: M of the paper.
    """
    strengths = backend.tensorflow().fill(backend.tensorflow().shape(uniform[:, 0]), magnitude / FULL_MAGNITUDE)
    return _operated(images, uniform, strengths, RAND)


def trivial_augment(images: Tensor, uniform: Tensor) -> Tensor:
    """One operation for each image, at a strength of its own.

    Args:
        images: ``(B, H, W, C)``, float32, 0 to 255.
        uniform: draws from 0 to 1, ``(B, 3, 1)``, for the operations, their directions and their strengths.
    """
    strengths = backend.tensorflow().floor(uniform[:, 2] * (STRENGTHS + 1)) / STRENGTHS
    return _operated(images, uniform, strengths, TRIVIAL)


def _operated(images: Tensor, uniform: Tensor, strengths: Tensor, ranges: Ranges) -> Tensor:
    """Images after the operations that are drawn for them, of ``strengths`` ``(B, N)``."""
    tf = backend.tensorflow()
    chosen = tf.cast(uniform[:, 0] * len(OPERATIONS), tf.int32)
    signs = tf.where(uniform[:, 1] < 0.5, -1.0, 1.0)

    def each(item: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        image, which, strength, sign = item
        for place in range(uniform.shape[2]):
            branches = [
                (
                    lambda operation=operation, image=image, place=place: operation(
                        image, strength[place], sign[place], ranges
                    )
                )
                for operation in OPERATIONS
            ]
            image = tf.ensure_shape(tf.switch_case(which[place], branches), image.shape)
        return image

    whole = tf.round(images)
    items = (whole, chosen, strengths, signs)
    as_it_is = tf.autograph.experimental.do_not_convert  # it is graph code already
    operated = tf.map_fn(as_it_is(each), items, fn_output_signature=tf.TensorSpec(images.shape[1:]))
    return tf.clip_by_value(operated, 0.0, 255.0)


Operation = Callable[["Tensor", "Tensor", "Tensor", Ranges], "Tensor"]
"""From an image ``(H, W, C)`` of float32, a strength from 0 to 1, a sign, and the ranges to an image of that shape."""


def unchanged(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """The image as it is."""
    return backend.tensorflow().identity(image)


def auto_contrast(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """The least value of each colour becomes 0, the largest 255."""
    tf = backend.tensorflow()
    colours, alpha = split_alpha(image)
    low, high = tf.reduce_min(colours, axis=(0, 1)), tf.reduce_max(colours, axis=(0, 1))
    stretched = tf.where(high > low, (colours - low) * tf.math.divide_no_nan(255.0, high - low), colours)
    return join_alpha(stretched, alpha)


def equalize(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Each value of a colour becomes about as frequent as any other."""
    tf = backend.tensorflow()
    colours, alpha = split_alpha(image)
    channels = [_equalized(channel) for channel in tf.unstack(tf.cast(colours, tf.int32), axis=-1)]
    return join_alpha(tf.stack(channels, axis=-1), alpha)


def _equalized(channel: Tensor) -> Tensor:
    tf = backend.tensorflow()
    counts = tf.math.bincount(tf.reshape(channel, [-1]), minlength=256, maxlength=256)
    present = tf.boolean_mask(counts, counts > 0)
    step = (tf.reduce_sum(counts) - present[-1]) // 255
    table = tf.minimum((step // 2 + tf.cumsum(counts, exclusive=True)) // tf.maximum(step, 1), 255)
    return tf.cast(tf.where(step > 0, tf.gather(table, channel), channel), tf.float32)


def solarize(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Values from a threshold on are inverted; it is 256 at no strength, 0 at full strength."""
    tf = backend.tensorflow()
    colours, alpha = split_alpha(image)
    return join_alpha(tf.where(colours >= 256 - tf.floor(256 * strength), 255 - colours, colours), alpha)


def posterize(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Fewer bits of each value are kept."""
    tf = backend.tensorflow()
    colours, alpha = split_alpha(image)
    step = 2.0 ** tf.floor((8 - ranges.bits) * strength)
    return join_alpha(tf.floor(colours / step) * step, alpha)


def colour(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Each pixel's distance from its own grey is multiplied."""
    colours, alpha = split_alpha(image)
    return join_alpha(_blended(grey(colours), colours, strength, ranges), alpha)


def contrast(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Each value's distance from the image's mean grey is multiplied."""
    tf = backend.tensorflow()
    colours, alpha = split_alpha(image)
    return join_alpha(_blended(tf.round(tf.reduce_mean(grey(colours))), colours, strength, ranges), alpha)


def brightness(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Values are multiplied."""
    colours, alpha = split_alpha(image)
    return join_alpha(_blended(0.0, colours, strength, ranges), alpha)


def sharpness(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Each value's distance from a mean around it is multiplied; the edges of the image stay."""
    tf = backend.tensorflow()
    colours, alpha = split_alpha(image)
    depth = colours.shape[-1]
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32)[:, :, None, None] / 13
    smooth = tf.nn.depthwise_conv2d(colours[None], tf.tile(kernel, (1, 1, depth, 1)), (1, 1, 1, 1), "SAME")[0]
    height, width = tf.unstack(tf.shape(colours)[:2])
    rows, columns = tf.range(height)[:, None, None], tf.range(width)[None, :, None]
    inside = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    return join_alpha(_blended(tf.where(inside, smooth, colours), colours, strength, ranges), alpha)


def rotate(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """About the centre; what comes from outside is black."""
    tf = backend.tensorflow()
    angle = sign * strength * math.radians(ranges.angle)
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    cos, sin, y, x = tf.cos(angle), tf.sin(angle), (height - 1) / 2, (width - 1) / 2
    return _moved(image, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y))


def shear_x(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Lower rows are moved further to the side."""
    return _moved(image, (1.0, sign * strength * ranges.shear, 0.0, 0.0, 1.0, 0.0))


def shear_y(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Columns to the right are moved further up or down."""
    return _moved(image, (1.0, 0.0, 0.0, sign * strength * ranges.shear, 1.0, 0.0))


def translate_x(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """To the side."""
    return _moved(image, (1.0, 0.0, sign * strength * _shift(image, 1, ranges), 0.0, 1.0, 0.0))


def translate_y(image: Tensor, strength: Tensor, sign: Tensor, ranges: Ranges) -> Tensor:
    """Up or down."""
    return _moved(image, (1.0, 0.0, 0.0, 0.0, 1.0, sign * strength * _shift(image, 0, ranges)))


OPERATIONS: tuple[Operation, ...] = (
    unchanged,
    auto_contrast,
    equalize,
    rotate,
    solarize,
    colour,
    posterize,
    contrast,
    brightness,
    sharpness,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
"""In the order of RandAugment's section 3."""


def grey(colours: Tensor) -> Tensor:
    """The grey of colours, of the same shape: ``(…, 1)`` or ``(…, 3)``."""
    tf = backend.tensorflow()
    if colours.shape[-1] == 1:
        return colours
    return tf.tensordot(colours, tf.tile(tf.constant(LUMA)[:, None], (1, 3)), 1)


def split_alpha(images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Grey or RGB, and alpha where there is one, ``(…, 1)``."""
    return (images[..., :3], [images[..., 3:]]) if images.shape[-1] == 4 else (images, [])


def join_alpha(colours: Tensor, alpha: list[Tensor]) -> Tensor:
    """What `split_alpha` took apart."""
    return backend.tensorflow().concat([colours, *alpha], axis=-1) if alpha else colours


def _shift(image: Tensor, axis: int, ranges: Ranges) -> Tensor | float:
    tf = backend.tensorflow()
    return ranges.shift * tf.cast(tf.shape(image)[axis], tf.float32) if ranges.shift < 1 else ranges.shift


def _blended(from_: Tensor | float, to: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:
    tf = backend.tensorflow()
    low, high = ranges.factors
    return tf.clip_by_value(from_ + (to - from_) * (low + (high - low) * strength), 0.0, 255.0)


def _moved(image: Tensor, transform: tuple[Tensor | float, ...]) -> Tensor:
    """An affine transform from places in the result to places in the image; what comes from outside is black."""
    tf = backend.tensorflow()
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([*map(tf.convert_to_tensor, transform), 0.0, 0.0])[None],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        fill_mode="CONSTANT",
        interpolation="BILINEAR",
    )
    return moved[0]
