"""The pictures of a report: what a network is surest of and wrong about, with the places that it looked at."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cnn_registry.data.dataset import Bytes, EncodedImage, ImageDataset
from cnn_registry.data.fitting import as_image, data_url, fitted, in_channels, pixels
from cnn_registry.data.image import decode_image
from cnn_registry.data.sources.content import file_hash
from cnn_registry.data.split import positions
from cnn_registry.data.threads import in_threads
from cnn_registry.errors import CnnRegistryError
from cnn_registry.explain.colours import overlay
from cnn_registry.explain.grad_cam import GradCam
from cnn_registry.runs.record import short_hash
from cnn_registry.runs.run import Run

from .summary import Predictions

MISTAKES = 24
"""Mistakes that are shown."""

PAIRS, EACH = 8, 3
"""Pairs of classes that are shown, and images of each."""

EDGE = 176
"""Pixels of the longest edge of a thumbnail; pages show it at about two thirds, for screens with dense pixels."""


@dataclass(frozen=True)
class Example:
    """An image that is shown.

    Attributes:
        number: its place among the validation images.
        image: its id.
        label, predicted: the true and the predicted class.
        confidence, of_true: the probabilities of both.
    """

    number: int
    image: str
    label: int
    predicted: int
    confidence: float
    of_true: float


@dataclass(frozen=True)
class Pair:
    """A class that is taken for another one.

    Attributes:
        label, predicted: the true class and the other.
        images: how often.
        examples: those with the highest confidence.
    """

    label: int
    predicted: int
    images: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Thumbnail:
    """A picture and its map as ``data:`` addresses; ``cam`` is empty where there is no map."""

    picture: str
    cam: str
    tiny: bool


def mistakes(predictions: Predictions, ids: Sequence[str]) -> list[Example]:
    """The wrong predictions, the surest first."""
    rows = zip(predictions.labels, predictions.predicted, predictions.confidence, predictions.of_true, strict=True)
    wrong = [Example(number, ids[number], *row) for number, row in enumerate(rows) if row[0] != row[1]]
    return sorted(wrong, key=lambda example: -example.confidence)


def confused_pairs(wrong: Iterable[Example]) -> list[Pair]:
    """The pairs of classes that are confused most often, of mistakes in the order of their confidence."""
    pairs: dict[tuple[int, int], list[Example]] = defaultdict(list)
    for example in wrong:
        pairs[example.label, example.predicted].append(example)
    found = [Pair(*classes, len(examples), tuple(examples[:EACH])) for classes, examples in pairs.items()]
    return sorted(found, key=lambda pair: -pair.images)[:PAIRS]


def draw(
    examples: Iterable[Example],
    run: Run,
    dataset: ImageDataset,
    hashes: Sequence[str],
    cam: Callable[[], GradCam] | None,
) -> dict[int, Thumbnail]:
    """Thumbnails of examples, and Grad-CAM of the class that was predicted, by the number of the image.

    An image that cannot be read, or whose content has changed, is left out.

    Args:
        examples: what to draw.
        run: the run that they are of.
        dataset: where the images are.
        hashes: of their content, as in `Predictions`.
        cam: makes the explanations; ``None`` for none.

    Raises:
        DataError: the dataset does not have all of the images.
        CnnRegistryError: as ``cam``.
    """
    chosen = list({example.number: example for example in examples}.values())
    places = positions(dataset, [example.image for example in chosen])
    limit, form = run.record.options.max_pixels, run.record.form

    def read(item: tuple[Example, int]) -> Image.Image | None:
        example, place = item
        source = dataset.images[place]
        if hashes and content_hash(source) != hashes[example.number]:
            return None
        if isinstance(source, np.ndarray):
            return as_image(source)
        try:
            return decode_image(source, alpha=form.channels == 4, max_pixels=limit)
        except CnnRegistryError:
            return None

    images = in_threads(read, list(zip(chosen, places.tolist(), strict=True)))
    shown = [
        (example, pixels(image, form), fitted(in_channels(image, 3), EDGE), form.seen(image.height, image.width))
        for example, image in zip(chosen, images, strict=True)
        if image
    ]
    if not shown:
        return {}
    maps: Sequence[np.ndarray | None] = [None] * len(shown)
    if cam:
        taken = np.stack([image for _, image, _, _ in shown])
        maps = list(cam()(taken, [example.predicted for example, *_ in shown]).maps)
    return {
        example.number: _thumbnail(np.asarray(small), weights, seen)
        for (example, _, small, seen), weights in zip(shown, maps, strict=True)
    }


def content_hash(source: EncodedImage | Bytes) -> str:
    """The beginning of the SHA-256 of an image's content, as a run records it."""
    digest = hashlib.sha256(source.tobytes()).digest() if isinstance(source, np.ndarray) else file_hash(source)
    return short_hash(digest)


def _thumbnail(picture: Bytes, weights: np.ndarray | None, seen: tuple[float, float, float, float]) -> Thumbnail:
    tiny = max(picture.shape[:2]) < EDGE // 2
    if weights is None:
        return Thumbnail(picture_address(picture), "", tiny)
    under = picture
    if tiny:  # a map over a few pixels would be as coarse as these
        scale = EDGE // max(picture.shape[:2])
        under = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    return Thumbnail(picture_address(picture), picture_address(overlay(under, weights, seen)), tiny)


def picture_address(picture: Bytes) -> str:
    """A picture as a ``data:`` address: JPEG, and PNG where it is very small."""
    if max(picture.shape[:2]) < EDGE // 2:
        return data_url(picture, "PNG")
    return data_url(picture, "JPEG", quality=80)
