"""What happens to the pictures of a request: they are decoded, predicted with those of others, and explained."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from cnn_registry.backend import usable_cpus
from cnn_registry.data.dataset import Bytes
from cnn_registry.data.fitting import data_url, fitted, in_channels, pixels
from cnn_registry.data.image import decode_image
from cnn_registry.errors import BadImageError
from cnn_registry.explain import overlay
from cnn_registry.inference.pictures import pictures_at_a_time
from cnn_registry.inference.predict import labels_shown, most_probable
from cnn_registry.inference.predictor import Predictor

from .answers import ClassProbability, PicturePrediction
from .batcher import Batcher
from .uploads import Upload

EXPLAINED_EDGE = 320
"""The longest edge of a picture with a map over it, in pixels."""

MapsOf = Callable[[Bytes], np.ndarray]
"""From uint8 ``(N, height, width, channels)`` to a map ``(N, h, w)`` for each picture."""


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        title: what the page calls it.
        predictor: the model.
        maps: Grad-CAM of the most probable class; ``None`` where there is none.
    """

    title: str
    predictor: Predictor
    maps: MapsOf | None = None


class DecodedUpload(NamedTuple):
    """An uploaded picture.

    Attributes:
        taken: as the network takes it.
        small: as it is explained; ``None`` where it is not to be.
        seen: which part of it the network sees, as `cnn_registry.explain.overlay` takes it.
    """

    taken: Bytes
    small: Bytes | None
    seen: tuple[float, float, float, float]


class ServiceThreads:
    """The threads for the requests of one event loop: those that decode, and one for the network.

    Attributes:
        loop: the event loop.
        decoders, network: the threads.
        batcher: gives pictures to the network.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.loop = asyncio.get_running_loop()
        self.decoders = ThreadPoolExecutor(usable_cpus(), "decoder")
        self.network = ThreadPoolExecutor(1, "network")
        self.batcher = Batcher(predictor, self.network, pictures_at_a_time(predictor.form))
        self._task = self.loop.create_task(self.batcher.run())

    def end(self) -> None:
        """End each thread when it has done what it began."""
        if not self.loop.is_closed():
            self._task.cancel()
        for pool in (self.network, self.decoders):
            pool.shutdown(wait=False, cancel_futures=True)


class Service:
    """Predicts uploaded pictures.

    It begins with the first request: an application that is mounted in another one is not told when that begins.

    Args:
        served: the model.
        max_pixels: of one picture.
    """

    def __init__(self, served: Served, max_pixels: int) -> None:
        self._served, self._max_pixels = served, max_pixels
        self._threads: ServiceThreads | None = None

    def end(self) -> None:
        """End its threads, until there is another request."""
        if self._threads:
            self._threads.end()
        self._threads = None

    def _started(self) -> ServiceThreads:
        if self._threads and self._threads.loop is not asyncio.get_running_loop():
            self.end()
        self._threads = self._threads or ServiceThreads(self._served.predictor)
        return self._threads

    async def predict(self, uploads: Sequence[Upload], *, top: int, explain: bool) -> list[PicturePrediction]:
        """The predictions of pictures, in their order.

        Args:
            uploads: one or more.
            top: how many classes to give for each.
            explain: whether to add pictures with maps; the model must have them.

        Raises:
            UnreadableError: not one can be read.
        """
        loop, threads = asyncio.get_running_loop(), self._started()
        decoding = [loop.run_in_executor(threads.decoders, self._decode, upload, explain) for upload in uploads]
        found = await asyncio.gather(*decoding)
        readable = [item for item in found if isinstance(item, DecodedUpload)]
        if not readable:
            raise UnreadableError([item for item in found if isinstance(item, BadImageError)])
        rows = iter(await threads.batcher([item.taken for item in readable]))
        explained = iter(await loop.run_in_executor(threads.network, self._explain, readable) if explain else ())
        answers = []
        for upload, item in zip(uploads, found, strict=True):
            if isinstance(item, BadImageError):
                answers.append(PicturePrediction(file=upload.name, error=str(item)))
            else:
                row = next(rows)
                classes = most_probable(row, self._served.predictor.class_names, top)
                labels = labels_shown(row, self._served.predictor)
                answers.append(
                    PicturePrediction(
                        file=upload.name,
                        classes=[ClassProbability(name=name, probability=p) for name, p in classes],
                        labels=None if labels is None else list(labels),
                        explanation=next(explained, None),
                    )
                )
        return answers

    def _decode(self, upload: Upload, explain: bool) -> DecodedUpload | BadImageError:
        stream, form = io.BytesIO(upload.content), self._served.predictor.form
        stream.name = upload.name
        try:
            image = decode_image(stream, alpha=form.channels == 4, max_pixels=self._max_pixels)
        except BadImageError as error:
            if isinstance(
                error.__cause__, Image.DecompressionBombError
            ):  # says how to allow more, which is not for senders
                return BadImageError(upload.name, f"more than {self._max_pixels:,} pixels")
            return error
        small = np.asarray(fitted(in_channels(image, 3), EXPLAINED_EDGE)) if explain else None
        return DecodedUpload(pixels(image, form), small, form.seen(image.height, image.width))

    def _explain(self, pictures: Sequence[DecodedUpload]) -> list[str]:
        """Pictures with their maps over them, as data URLs."""
        assert self._served.maps
        maps = self._served.maps(np.stack([picture.taken for picture in pictures]))
        return [
            data_url(overlay(picture.small, weights, picture.seen), "JPEG", quality=85)
            for picture, weights in zip(pictures, maps, strict=True)
            if picture.small is not None
        ]


class UnreadableError(Exception):
    """Not one picture of a request can be read.

    Args:
        reasons: for each picture.
    """

    def __init__(self, reasons: Sequence[BadImageError]) -> None:
        super().__init__("; ".join(map(str, reasons)))
