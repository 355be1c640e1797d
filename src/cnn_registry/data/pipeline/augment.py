"""Random crops, flips, rotations and colours, for a whole batch at once.

Keras' ``RandomCrop`` takes the same crop for a whole batch, and ``RandAugment`` computes every transform that it might
choose. Here, one ``tf.image.crop_and_resize`` takes a box for each image, a flip is a box whose x coordinates are
swapped, and all colour changes are one affine step. Only rotated boxes need another operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cnn_registry import backend
from cnn_registry.data.form import Size
from cnn_registry.system.objects import Reference

from .operations import FULL_MAGNITUDE, LUMA, OPERATIONS, grey, join_alpha, rand_augment, split_alpha, trivial_augment
from .steps import AugmentationStep

if TYPE_CHECKING:
    from tensorflow import Tensor

HalfWidth = Annotated[float, Field(ge=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=180)]
Positive = Annotated[float, Field(gt=0)]

Probability = Annotated[float, Field(ge=0, le=1)]


def _a_path(text: str) -> str:
    if not Reference.parse(text).is_path:
        raise ValueError("expected module:object, as in my_package.steps:add_noise")
    return text


StepName = Annotated[str, AfterValidator(_a_path), Field(max_length=1000)]
"""``module:object``, with keyword arguments: ``"module:object,key=value"``."""

ERASED_ASPECT = (0.3, 1 / 0.3)
"""The least and the largest ratio of height to width of an erased box: Zhong et al. 2017, section 5.1."""


class SeedOf:
    """Numbers that are folded into the seed of a batch, so that each kind of augmentation draws by itself."""

    ROTATION, VERTICAL_FLIP, OPERATIONS, GRAYSCALE, BLUR, ERASING, NOISE = range(1, 8)
    STEPS = 64


class Augmentation(BaseModel):
    """How an image varies at random each time it is used; by default, it does not.

    Attributes:
        crop_area: smallest and largest share of the image's area that a crop keeps, before it is resized to the full
            size; ``None`` for no crop.
        crop_aspect: smallest and largest ratio of a crop's width to its height, as a multiple of the image's own.
        zoom: instead of ``crop_area``: the smallest and the largest size to which an image is resized before the full
            size is cut out of it, as multiples of that; drawn uniformly.
        flip: mirror an image left to right with probability 1/2.
        rotation: largest angle in degrees by which a crop is rotated about its centre, in either direction; areas
            outside the image are filled by reflection at its edge.
        brightness: half-width of the factor ``1 ± brightness`` on all values.
        contrast: half-width of the factor on each value's distance from the image's mean grey.
        saturation: half-width of the factor on each value's distance from the pixel's own grey.
        vertical_flip: mirror an image top to bottom with probability 1/2.
        trivial_augment: one of fourteen operations at a random strength for each image: Müller & Hutter 2021
            (https://arxiv.org/abs/2103.10158), with its wide ranges.
        rand_augment: so many of these operations for each image: Cubuk et al. 2019
            (https://arxiv.org/abs/1909.13719), where it is N; 0 for none, 2 there for ResNet-50.
        rand_magnitude: their strength from 0 to 10; M there, 9 for ResNet-50.
        grayscale: the probability that an image becomes grey.
        blur: the largest standard deviation in pixels of a Gaussian blur; drawn uniformly between 0 and this.
        erasing: the probability that a box of an image is filled with noise: Zhong et al. 2017
            (https://arxiv.org/abs/1708.04896), 0.5 there.
        erasing_area: smallest and largest share of the image's area that is erased.
        steps: own steps, in their order, as ``module:object``, with arguments: ``"my_steps:add_noise,scale=3"``. Each
            is called as ``step(images, seed)`` with float32 images ``(B, H, W, C)`` from 0 to 255 and an int32 seed
            ``(2,)``, and returns images of the same shape.

    Crops, flips and rotations come first, then brightness, contrast and saturation, TrivialAugment or RandAugment,
    grayscale, blur, own steps, and erasing; the pairs of ``mixing`` come last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crop_area: tuple[float, float] | None = None
    crop_aspect: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    zoom: tuple[float, float] | None = None
    flip: bool = False
    rotation: Degrees = 0.0
    brightness: HalfWidth = 0.0
    contrast: HalfWidth = 0.0
    saturation: HalfWidth = 0.0
    vertical_flip: bool = False
    trivial_augment: bool = False
    rand_augment: Annotated[int, Field(ge=0, le=len(OPERATIONS))] = 0
    rand_magnitude: Annotated[float, Field(ge=0, le=FULL_MAGNITUDE)] = 9.0
    grayscale: Probability = 0.0
    blur: Annotated[float, Field(ge=0, le=16)] = 0.0
    erasing: Probability = 0.0
    erasing_area: tuple[float, float] = (0.02, 0.4)
    steps: tuple[StepName, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        if self.crop_area is not None and not 0 < self.crop_area[0] <= self.crop_area[1] <= 1:
            raise ValueError(f"crop_area must be (low, high) with 0 < low <= high <= 1; got {self.crop_area}")
        if self.zoom is not None and not 1 <= self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom must be (low, high) with 1 <= low <= high; got {self.zoom}")
        if self.zoom is not None and self.crop_area is not None:
            raise ValueError("zoom and crop_area exclude each other")
        if self.trivial_augment and self.rand_augment:
            raise ValueError("trivial_augment and rand_augment exclude each other")
        if not 0 < self.erasing_area[0] <= self.erasing_area[1] < 1:
            raise ValueError(f"erasing_area must be (low, high) with 0 < low <= high < 1; got {self.erasing_area}")
        if self.crop_aspect[0] > self.crop_aspect[1]:
            raise ValueError(f"crop_aspect must be (low, high) with low <= high; got {self.crop_aspect}")
        return self

    @property
    def moves(self) -> bool:
        """Whether positions of pixels change."""
        turns = self.flip or self.vertical_flip or self.rotation
        return bool(turns or self.crop_area is not None or self.zoom is not None)

    @property
    def colours(self) -> bool:
        """Whether values of pixels change."""
        return bool(self.brightness or self.contrast or self.saturation)


class Rows(NamedTuple):
    """Which images of a batch there are, where others compute the rest of it.

    Attributes:
        places: the places of the images in the batch, ``(B,)``, int32.
        number: the number of images in the whole batch, a scalar, int32.
    """

    places: Tensor
    number: Tensor


def augment(
    images: Tensor,
    seed: Tensor,
    config: Augmentation,
    size: int | Size | Tensor,
    rows: Rows | None = None,
    steps: Sequence[AugmentationStep] = (),
) -> Tensor:
    """Vary each image of a batch independently.

    Args:
        images: ``(B, H, W, C)``, 0 to 255, uint8 or float32: grey, RGB or RGBA.
        seed: ``(2,)``, int32; the same seed and images give the same result.
        config: what varies.
        size: height and width of the result in pixels, an int32 tensor ``(2,)`` where they are not known yet; an
            integer for a square.
        rows: of a part of a batch; each image then varies as it does in the whole batch.
        steps: the user's own, from `build_steps`. Those of a part of a batch draw by themselves.

    Returns:
        ``(B, height, width, C)``, float32, 0 to 255. If there is nothing to vary or resize, the values are unchanged.
    """
    tf = backend.tensorflow()
    if isinstance(size, int):
        size = (size, size)
    stays = not config.moves and isinstance(size, tuple) and size == (images.shape[1], images.shape[2])
    if stays and not config.colours:
        return _varied(tf.cast(images, tf.float32), seed, config, rows, steps)
    uniform = tf.unstack(own_draws(rows, tf.shape(images)[0], lambda number: uniforms((number, 8), seed)), axis=1)
    if not stays:
        boxes = _boxes(uniform[:5], config)
        if config.vertical_flip:
            own = tf.random.experimental.stateless_fold_in(seed, SeedOf.VERTICAL_FLIP)
            down = own_draws(rows, tf.shape(images)[0], lambda number: uniforms((number, 1), own))
            boxes = tf.where(down < 0.5, tf.gather(boxes, [2, 1, 0, 3], axis=1), boxes)
        if config.rotation:
            images = _turned(images, boxes, _angles(tf.shape(images)[0], seed, config, rows), size)
        else:
            images = tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), size)
    images = tf.cast(images, tf.float32)
    if config.colours:
        images = _coloured(images, uniform[5:], config)
    return _varied(images, seed, config, rows, steps)


def _varied(
    images: Tensor, seed: Tensor, config: Augmentation, rows: Rows | None, steps: Sequence[AugmentationStep]
) -> Tensor:
    """Everything after crops and colour jitter, which is off by default and draws by itself."""
    tf = backend.tensorflow()

    def folded(kind: int) -> Tensor:
        return tf.random.experimental.stateless_fold_in(seed, kind)

    def draws(kind: int, *shape: Any) -> Tensor:
        return own_draws(rows, tf.shape(images)[0], lambda number: uniforms((number, *shape), folded(kind)))

    if config.trivial_augment:
        images = trivial_augment(images, draws(SeedOf.OPERATIONS, 3, 1))
    if config.rand_augment:
        images = rand_augment(images, draws(SeedOf.OPERATIONS, 2, config.rand_augment), config.rand_magnitude)
    if config.grayscale and images.shape[-1] != 1:
        images = _greyed(images, draws(SeedOf.GRAYSCALE, 1, 1, 1) < config.grayscale)
    if config.blur:
        images = _blurred(images, config.blur * draws(SeedOf.BLUR, 1), math.ceil(3 * config.blur))
    for place, step in enumerate(steps):
        own = folded(SeedOf.STEPS + place)
        if rows is not None:
            own = tf.random.experimental.stateless_fold_in(own, tf.reduce_sum(rows.places[:1]))
        images = tf.ensure_shape(step(images, own), images.shape)
    if config.erasing:
        noise = draws(SeedOf.NOISE, *tf.unstack(tf.shape(images)[1:]))
        images = _erased(images, draws(SeedOf.ERASING, 5), 255 * tf.ensure_shape(noise, images.shape), config)
    return images


def _greyed(images: Tensor, chosen: Tensor) -> Tensor:
    """Images of which the ``chosen`` ones, ``(B, 1, 1, 1)``, are grey."""
    tf = backend.tensorflow()
    colours, alpha = split_alpha(images)
    return join_alpha(tf.where(chosen, grey(colours), colours), alpha)


def _blurred(images: Tensor, deviations: Tensor, reach: int) -> Tensor:
    """Each image with a Gaussian of its own, along one axis and then along the other; edges are repeated."""
    tf = backend.tensorflow()
    places = tf.range(-reach, reach + 1, dtype=tf.float32)
    # A deviation of 0 leaves the middle alone.
    weights = tf.nn.softmax(-tf.square(places) / (2 * tf.square(tf.maximum(deviations, 1e-3))), axis=1)
    for axis in (1, 2):
        length = tf.shape(images)[axis]
        found = tf.zeros_like(images)
        for place in range(2 * reach + 1):
            near = tf.clip_by_value(tf.range(length) + (place - reach), 0, length - 1)
            found += weights[:, place, None, None, None] * tf.gather(images, near, axis=axis)
        images = tf.ensure_shape(found, images.shape)
    return images


def _erased(images: Tensor, uniform: Tensor, noise: Tensor, config: Augmentation) -> Tensor:
    """Images, some of which have a box of noise: Zhong et al. 2017, algorithm 1, with the box cut to fit."""
    tf = backend.tensorflow()
    shape, draws = tf.shape(images), tf.unstack(uniform, axis=1)
    area = _between(draws[0], *config.erasing_area)
    low, high = ERASED_ASPECT
    height, width = tf.unstack(tf.cast(shape[1:3], tf.float32))
    aspect = tf.exp(_between(draws[1], math.log(low), math.log(high))) * width / height  # of shares
    high_share, wide_share = tf.minimum(tf.sqrt(area * aspect), 1.0), tf.minimum(tf.sqrt(area / aspect), 1.0)

    def along(axis: int, start: Tensor, share: Tensor) -> Tensor:
        length = tf.cast(shape[axis], tf.float32)
        places = (tf.range(length) + 0.5) / length
        begins = (start * (1 - share))[:, None]
        return (places >= begins) & (places < begins + share[:, None])

    lines, columns = along(1, draws[2], high_share), along(2, draws[3], wide_share)
    chosen = (draws[4] < config.erasing)[:, None, None]
    return tf.where((lines[:, :, None] & columns[:, None, :] & chosen)[..., None], noise, images)


def own_draws(rows: Rows | None, number: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """The draws of ``number`` images; with ``rows``, those that these have among the draws of the whole batch.

    Args:
        rows: see there.
        number: number of images that are there.
        draw: makes the draws of a number of images, one after the other along the first axis.
    """
    return draw(number) if rows is None else backend.tensorflow().gather(draw(rows.number), rows.places)


def uniforms(shape: Sequence[Any], seed: Tensor) -> Tensor:
    """Draws from 0 to 1."""
    return backend.tensorflow().random.stateless_uniform(shape, seed)


def _boxes(uniform: list[Tensor], config: Augmentation) -> Tensor:
    """``(B, 4)``: y1, x1, y2, x2 of a crop for each image, in fractions of its height and width."""
    tf = backend.tensorflow()
    area, aspect, top, left, mirror = uniform
    if config.zoom is not None:
        height = width = 1 / _between(area, *config.zoom)
    elif config.crop_area is None:
        height = width = tf.ones_like(area)
    else:
        area = _between(area, *config.crop_area)
        low, high = config.crop_aspect
        aspect = tf.exp(_between(aspect, math.log(low), math.log(high)))
        height, width = tf.minimum(tf.sqrt(area / aspect), 1.0), tf.minimum(tf.sqrt(area * aspect), 1.0)
    y1, x1 = top * (1 - height), left * (1 - width)
    y2, x2 = y1 + height, x1 + width
    if config.flip:
        mirrored = mirror < 0.5
        x1, x2 = tf.where(mirrored, x2, x1), tf.where(mirrored, x1, x2)
    return tf.stack([y1, x1, y2, x2], axis=1)


def _angles(number: Tensor, seed: Tensor, config: Augmentation, rows: Rows | None) -> Tensor:
    """``(number,)``, in radians. The draws from ``seed`` itself are used for the crops, so these are different ones."""
    tf = backend.tensorflow()
    seed = tf.random.experimental.stateless_fold_in(seed, SeedOf.ROTATION)
    uniform = own_draws(rows, number, lambda number: uniforms((number,), seed))
    return math.radians(config.rotation) * _between(uniform, -1, 1)


def _turned(images: Tensor, boxes: Tensor, angles: Tensor, size: Size | Tensor) -> Tensor:
    """``(B, height, width, C)``, float32: as `tf.image.crop_and_resize`, with each box rotated about its centre."""
    tf = backend.tensorflow()
    last = tf.cast(tf.shape(images)[1:3] - 1, tf.float32)
    y1, x1, y2, x2 = tf.unstack(boxes * tf.tile(last, [2]), axis=1)
    ends = tf.cast(tf.convert_to_tensor(size) - 1, tf.float32)
    end_y, end_x = tf.unstack(tf.maximum(ends, 1.0))
    height, width = (y2 - y1) / end_y, (x2 - x1) / end_x  # of one pixel of the result, in the image
    cos, sin, middle = tf.cos(angles), tf.sin(angles), tf.reduce_max(ends) / 2
    xx, xy, yx, yy = cos * width, -sin * height, sin * width, cos * height
    high, wide = tf.unstack(tf.math.divide_no_nan(ends / 2, middle))  # both 1 for a square
    x = (x1 + x2) / 2 - (xx * wide + xy * high) * middle
    y = (y1 + y2) / 2 - (yx * wide + yy * high) * middle
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([xx, xy, x, yx, yy, y, tf.zeros_like(x), tf.zeros_like(x)], axis=1),
        output_shape=size,
        fill_value=0.0,
        fill_mode="REFLECT",
        interpolation="BILINEAR",
    )


def _coloured(images: Tensor, uniform: list[Tensor], config: Augmentation) -> Tensor:
    """Saturation, then contrast, then brightness, composed into one matrix and one offset for each image."""
    tf = backend.tensorflow()
    half_widths = (config.brightness, config.contrast, config.saturation)
    brightness, contrast, saturation = (
        _between(draw, 1 - half_width, 1 + half_width)[:, None, None]
        for draw, half_width in zip(uniform, half_widths, strict=True)
    )
    images, alpha = split_alpha(images)
    colours = images.shape[-1]
    luma = tf.constant(LUMA if colours == 3 else (1.0,))[:, None]
    to_grey = tf.tile(luma, (1, colours))
    matrix = brightness * contrast * (saturation * tf.eye(colours) + (1 - saturation) * to_grey)
    mean_grey = tf.reduce_mean(images, axis=(1, 2))[:, None, :] @ luma
    offset = brightness * (1 - contrast) * mean_grey
    shape = tf.shape(images)
    coloured = tf.reshape(images, (shape[0], -1, colours)) @ matrix + offset
    coloured = tf.clip_by_value(tf.reshape(coloured, shape), 0.0, 255.0)
    return join_alpha(coloured, alpha)


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + uniform * (high - low)
