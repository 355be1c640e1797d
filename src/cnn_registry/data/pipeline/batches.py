"""From decoded images to batches for a network.

The order of an epoch and the augmentation of a batch derive from the seed, the epoch and the number of the batch, never
from earlier draws. Training that resumes at any batch therefore sees the same images as uninterrupted training.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnn_registry import backend
from cnn_registry.backend.replicas import ALL, Replicas
from cnn_registry.data.balance import Sampling, epoch_order
from cnn_registry.data.dataset import Bytes, ImageDataset, Indices
from cnn_registry.data.form import Size, height_and_width
from cnn_registry.data.sources.files import UnreadableImagesError
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.sources.unreadable import StandIns
from cnn_registry.errors import CnnRegistryError, DataError
from cnn_registry.registry.spec import Pixels

from .augment import Augmentation, Rows, augment
from .mix import UNMIXED, Mixing, mix
from .steps import build_steps

if TYPE_CHECKING:
    from tensorflow import Tensor
    from tensorflow.data import Dataset

CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)
"""ImageNet's mean blue, green and red, as Simonyan & Zisserman (2014) and ``keras.applications`` subtract them."""

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
"""The mean and standard deviation of ImageNet's red, green and blue from 0 to 1, by which torchvision normalises."""

T = TypeVar("T", bound=Any)

Draw = NDArray[np.int32]
"""The seed of one batch's augmentation, ``(2,)``."""


class Choice(NamedTuple):
    """The images of a batch and how they are varied.

    Attributes:
        indices: its images.
        draw: the seed of its augmentation.
        size: its height and width in pixels.
        mixed: whether its images are mixed in pairs.
    """

    indices: Indices
    draw: Draw
    size: Size
    mixed: bool = False


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Batches that hold all images once; the last may be smaller."""
    return -(-num_images // batch_size)


def training_batches(
    images: LoadedImages,
    indices: Indices,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    augmentation: Augmentation,
    pixels: Pixels,
    sizes: Sequence[int | Size] = (),
    mixing: Mixing = UNMIXED,
    sampling: Sampling = "shuffled",
    weights: NDArray[np.float32] | None = None,
    first_step: int = 0,
    replicas: Replicas = ALL,
) -> Dataset:
    """All batches of a training, in a new order each epoch.

    Args:
        images: the decoded images.
        indices: those to train on.
        batch_size: images per batch; the last batch of an epoch may be smaller.
        epochs: how often each image is seen.
        seed: of the order and the augmentation, 0 or more.
        augmentation: what varies from one look at an image to the next.
        pixels: the range of the values.
        sizes: edge lengths, or heights and widths, in pixels, each for an equal share of the epochs; default that of
            the decoded images.
        mixing: how images are mixed in pairs.
        sampling: how often images are seen, see `epoch_order`.
        weights: of classes, by which their images' losses are multiplied, ``(classes,)``; default none. The dataset's
            weights of images are factors of the same kind.
        first_step: the batch to begin with, counted from the beginning of the training.
        replicas: those whose parts of the batches are wanted.

    Returns:
        ``epochs * steps_per_epoch - first_step`` pairs of images ``(B, height, width, channels)`` and labels
        ``(B, classes)`` as `ImageDataset.one_hot` has them, both float32, and a weight for each image, ``(B,)``, where
        there are weights. With several sizes the size is not part of the static shape, so that whatever uses the
        batches is traced once.

        Where there are several replicas, each batch is one element for each of those that are wanted: the part of its
        images, varied and mixed as in the whole batch, and labels and weights for the whole batch that are zero outside
        the part. A replica whose part is empty gets one image of a neighbour's.

    Raises:
        DataError: one batch is larger than the memory that this process may use.
    """
    steps, form = steps_per_epoch(len(indices), batch_size), images.source.form
    each = [height_and_width(size) for size in sizes] or [form.size]

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> Indices:
        return epoch_order(indices, images.dataset.labels, sampling, (seed, epoch))

    def choose(step: int) -> Choice:
        epoch, batch = divmod(step, steps)
        chosen = order(epoch)[batch * batch_size : (batch + 1) * batch_size]
        draw = np.random.SeedSequence((seed, epoch, batch)).generate_state(2).view(np.int32)
        return Choice(chosen, draw, each[epoch * len(each) // epochs], mixing.mixes_at(epoch / epochs))

    check_memory(batch_size, [*each, form.size], form.channels)
    of_images = _image_weights(images.dataset, weights)
    elements = range(first_step, epochs * steps)
    return _batches(images, indices, elements, choose, augmentation, mixing, pixels, each, of_images, replicas)


def evaluation_batches(
    images: LoadedImages, indices: Indices, *, batch_size: int, pixels: Pixels, replicas: Replicas = ALL
) -> Dataset:
    """The images at ``indices`` once, in that order and as they are; otherwise as `training_batches`."""
    form = images.source.form

    def choose(step: int) -> Choice:
        return Choice(indices[step * batch_size : (step + 1) * batch_size], np.zeros(2, np.int32), form.size)

    check_memory(min(batch_size, len(indices)), [form.size], form.channels)
    steps = range(steps_per_epoch(len(indices), batch_size))
    return _batches(images, indices, steps, choose, Augmentation(), UNMIXED, pixels, [form.size], replicas=replicas)


def part_bounds(number: T, replica: T, of: int) -> tuple[T, T]:
    """Where the part of a batch that a replica computes begins and ends; numbers or tensors.

    Args:
        number: number of images in the batch.
        replica: number of the replica.
        of: number of all replicas.
    """
    return replica * number // of, (replica + 1) * number // of


def augmented_views(
    images: LoadedImages,
    *,
    at: Sequence[int],
    epochs: int,
    seed: int,
    augmentation: Augmentation,
    mixing: Mixing,
    sizes: Sequence[Size],
) -> Iterator[tuple[Bytes, NDArray[np.float32]]]:
    """How a training varies all ``images``, which stay in their order, at some of its epochs.

    Args:
        images, epochs, seed, augmentation, mixing, sizes: as for `training_batches`.
        at: epochs, counted from 0; one that is there twice gives two different looks.

    Returns:
        Pixels ``(N, height, width, channels)`` from 0 to 255 and labels ``(N, classes)``, for each of the epochs.
    """
    every = np.arange(len(images.dataset))

    def choose(step: int) -> Choice:
        epoch = at[step]
        draw = np.random.SeedSequence((seed, epoch, step)).generate_state(2).view(np.int32)
        return Choice(every, draw, sizes[epoch * len(sizes) // epochs], mixing.mixes_at(epoch / epochs))

    batches = _batches(images, every, range(len(at)), choose, augmentation, mixing, "unit", sizes)
    for pixels, labels in batches.as_numpy_iterator():
        yield np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8), labels


@contextmanager
def reading(*images: LoadedImages) -> Iterator[None]:
    """While batches are read: an image that can no longer be read is reported by its name.

    TensorFlow's own error quotes a traceback instead.

    Args:
        images: what the batches are of.

    Raises:
        BadImageError: an image cannot be read; it was, but the file has changed or is gone.
    """
    for loaded in images:
        loaded.failures.clear()
    try:
        yield
    except backend.tensorflow().errors.OpError:
        if failures := [failure for loaded in images for failure in loaded.failures]:
            raise failures[0] from None
        raise


def check_memory(batch_size: int, sizes: Sequence[Size], channels: int) -> None:
    """Refuse batches that do not fit into the memory of this process, as bytes and as float32.

    Args:
        batch_size: images per batch.
        sizes: heights and widths in pixels, of which the largest counts.
        channels: of an image.

    Raises:
        DataError: they do not fit.
    """
    height, width = max(sizes, key=lambda size: size[0] * size[1])
    available, taken = backend.memory_limit(), batch_size * height * width * channels * (1 + 4)
    if taken > available:
        raise DataError(
            f"A batch of {batch_size} images of {height}x{width} pixels takes {taken / 1e9:,.1f} GB; this process may "
            f"use {available / 1e9:,.1f} GB. Choose a smaller image_size or batch_size."
        )


def _batches(
    images: LoadedImages,
    part: Indices,
    steps: range,
    choose: Callable[[int], Choice],
    augmentation: Augmentation,
    mixing: Mixing,
    pixels: Pixels,
    sizes: Sequence[Size],
    weights: NDArray[np.float32] | None = None,
    replicas: Replicas = ALL,
) -> Dataset:
    """One batch for each step, as ``choose`` says, of one of ``sizes``; with ``weights``, those of the images.

    Readable images of ``part`` stand in for those that turn out to be unreadable; see `StandIns`.

    With several replicas, each batch is one part for each of ``replicas``, one after another.
    """
    tf = backend.tensorflow()
    stand_ins = StandIns(images.dataset, part, images.unreadable)
    gather = _Gathering(images, stand_ins, choose, weights, mixing.mixes, replicas)
    only, own_steps = sizes[0] if len(set(sizes)) == 1 else None, build_steps(augmentation.steps)

    def prepare(element: Tensor) -> tuple[Tensor, ...]:
        batch, labels, draw, size, mixed, places, number = gather.in_graph(element)
        rows = None if replicas.of == 1 else Rows(places, number)
        batch = scale(augment(batch, draw, augmentation, only or size, rows, own_steps), pixels)
        if mixing.mixes:
            batch, labels = tf.cond(mixed, lambda: mix(batch, labels, draw, mixing, rows), lambda: (batch, labels))
        if rows is not None:
            if mixing.mixes:
                batch, labels = batch[1:], labels[1:]
            labels = _in_whole_batch(labels, rows.number, element, replicas)
        return (batch, labels) if weights is None else (batch, labels[:, :-1], labels[:, -1])

    as_it_is = tf.autograph.experimental.do_not_convert  # prepare() is graph code already
    elements = tf.data.Dataset.range(steps.start * replicas.here, steps.stop * replicas.here)
    # Two batches at a time keep the processors busy at the end of the first.
    in_parallel = {} if images.is_in_memory else {"num_parallel_calls": 2, "deterministic": True}
    options = tf.data.Options()
    # Nothing is left to tune, and whoever drops a dataset half read can wait a minute for the thread that would do it.
    options.autotune.enabled = False
    return elements.map(as_it_is(prepare), **in_parallel).prefetch(2).with_options(options)


@dataclass(frozen=True)
class _Gathering:
    """Reads the images of an element: of a batch, or of the part of a batch that one replica computes.

    Attributes:
        images: the decoded images.
        stand_ins: what is read in place of unreadable ones.
        choose: the batch of a step.
        weights: of all images, ``(N,)``; they are one more column of the labels, so that they are mixed as these are.
        mixes: whether batches are mixed, each image with the one before it. The first image of a part is preceded by
            one of another part then.
        replicas: those whose parts are wanted.
    """

    images: LoadedImages
    stand_ins: StandIns
    choose: Callable[[int], Choice]
    weights: NDArray[np.float32] | None
    mixes: bool
    replicas: Replicas

    def in_graph(self, element: Tensor) -> list[Tensor]:
        """What `__call__` returns, as tensors of known shape.

        Returns:
            Images, labels, the draw, the size, whether the batch is mixed, the images' places in it, and how many
            images it has.
        """
        tf = backend.tensorflow()
        columns = len(self.images.dataset.class_names) + (self.weights is not None)
        kinds = (tf.uint8, tf.float32, tf.int32, tf.int32, tf.bool, tf.int32, tf.int32)
        shapes = ((None, *self.images.source.form.shape), (None, columns), (2,), (2,), (), (None,), ())
        tensors = tf.numpy_function(self, [element], kinds)
        return [tf.ensure_shape(tensor, shape) for tensor, shape in zip(tensors, shapes, strict=True)]

    def __call__(self, element: np.int64) -> tuple[Any, ...]:
        step, own = divmod(int(element), self.replicas.here)
        chosen, draw, size, mixed = self.choose(step)
        places = self._places(len(chosen), self.replicas.first + own)
        try:
            here, pictures = self._read(chosen[places])
        except CnnRegistryError as failure:
            self.images.failures.append(failure)
            raise
        labels = self.images.dataset.one_hot(here)
        if self.weights is not None:
            labels = np.column_stack([labels, self.weights[here]])
        return pictures, labels, draw, np.array(size, np.int32), np.bool_(mixed), places, np.int32(len(chosen))

    def _places(self, number: int, replica: int) -> NDArray[np.int32]:
        start, stop = part_bounds(number, replica, self.replicas.of)
        if start == stop:  # TensorFlow's convolutions take no empty batch
            start, stop = (start - 1, stop) if start else (0, 1)
        before = self.mixes and self.replicas.of > 1
        return np.arange(start - before, stop, dtype=np.int32) % np.int32(number)

    def _read(self, wanted: Indices) -> tuple[Indices, Bytes]:
        """The images that are read, which are those that are wanted where these can be, and their pixels."""
        while True:
            here = self.stand_ins.of(wanted)
            try:
                return here, self.images.source.read(here)
            except UnreadableImagesError as error:
                self.images.unreadable.add(error.reasons)


def _in_whole_batch(labels: Tensor, number: Tensor, element: Tensor, replicas: Replicas) -> Tensor:
    """The labels of an element's part as labels of the whole batch of ``number`` images, zero outside the part."""
    tf = backend.tensorflow()
    own = tf.cast(element % replicas.here, tf.int32)
    start, stop = part_bounds(number, replicas.first + own, replicas.of)
    return tf.pad(labels[: stop - start], [[start, number - stop], [0, 0]])


def _image_weights(dataset: ImageDataset, of_classes: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """What the loss of each image is multiplied by, ``(N,)``, by its own weight and that of its class."""
    if of_classes is None:
        return dataset.weights
    own = np.asarray(of_classes[dataset.labels])
    return own if dataset.weights is None else own * dataset.weights


def scale(images: Any, pixels: Pixels) -> Any:
    """Values from 0 to 255, an array or a tensor ``(…, channels)``, in the range that a network expects.

    What is stated of red, green and blue holds for grey in their mean. Alpha is scaled as values are that nothing is
    subtracted from.
    """
    channels = images.shape[-1]
    if pixels == "unit":
        return images / np.float32(255)
    if pixels == "signed":
        return images / np.float32(127.5) - np.float32(1)
    if pixels == "caffe":
        return _blue_first(images) - for_channels(CAFFE_MEAN, channels, 0)
    mean, deviation = for_channels(IMAGENET_MEAN, channels, 0), for_channels(IMAGENET_DEVIATION, channels, 1)
    return (images / np.float32(255) - mean) / deviation


def for_channels(values: NDArray[np.float32], channels: int, of_alpha: float) -> NDArray[np.float32]:
    """A value for each channel, of those for three colours."""
    if channels == 1:
        return np.array([values.mean()], np.float32)
    return np.array([*values, of_alpha], np.float32) if channels == 4 else values


def _blue_first(images: Any) -> Any:
    """The colours in the order of Caffe, and what else there is after them."""
    channels = images.shape[-1]
    if channels != 4:
        return images[..., ::-1]
    if isinstance(images, np.ndarray):
        return images[..., [2, 1, 0, 3]]
    return backend.keras().ops.take(images, [2, 1, 0, 3], axis=-1)
