"""What a trained model sees in pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes
from cnn_registry.data.folder import find_images
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.data.sources.cache import OnBadImage
from cnn_registry.data.sources.files import decode_each
from cnn_registry.errors import BadImageError, UsageError
from cnn_registry.networks.folding import fold_batch_norm
from cnn_registry.networks.mirrored import with_mirrored
from cnn_registry.runs.run import Run, load_run
from cnn_registry.system.progress import Advance, progress
from cnn_registry.text import counted

from .model import Weights, load_model

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, the most probable first.

    Attributes:
        image: the file.
        classes: ``(name, probability)`` pairs; empty where the file cannot be read.
        reason: why it cannot be read, or an empty string.
    """

    image: Path
    classes: tuple[tuple[str, float], ...]
    reason: str = ""


def predict(
    run: Run | str | Path,
    images: Sequence[str | Path],
    *,
    top: int = 5,
    weights: Weights = "best",
    tta: bool = False,
    on_bad_image: OnBadImage = "error",
    max_pixels: int | None = None,
    force: bool = False,
) -> list[Prediction]:
    """Classify picture files of any kind and size, and all pictures in folders.

    Args:
        run: the run whose model is used, or its directory.
        images: files, and folders, whose pictures are taken at any depth, in natural order.
        top: how many classes to give for each.
        weights: ``"best"`` or ``"last"``.
        tta: average the probabilities of each picture and its mirror image, which takes twice the time: Krizhevsky
            et al. (2012), section 4.1.
        on_bad_image: ``"error"`` to raise for a file that cannot be read, ``"skip"`` to give its reason in its place.
        max_pixels: the largest picture that is read, width times height; default Pillow's limit of 89 million.
        force: as for `load_model`.

    Returns:
        A prediction per picture, in order.

    Raises:
        BadImageError: a file is missing or is not a picture, and ``on_bad_image`` is ``"error"``; nothing is predicted
            then.
        DataError: a folder holds no pictures.
        RunError, ModelBuildError: as `load_model`.
    """
    run = run if isinstance(run, Run) else load_run(run)
    if top < 1:
        raise UsageError(f"The number of classes to show must be at least 1; got {top}.")
    files = list(_pictures(images))
    size = run.record.model.input_shape[0]
    if on_bad_image == "error":  # before the model is loaded, which takes seconds
        _refuse_bad(files, max_pixels)
    predictor: Predictor | None = None
    predictions: list[Prediction] = []
    with _shown(len(files)) as advance:
        for start in range(0, len(files), BATCH_SIZE):
            chunk = files[start : start + BATCH_SIZE]
            decoded = list(decode_each(chunk, (size,), max_pixels=max_pixels))
            readable = [found[0] for found in decoded if not isinstance(found, BadImageError)]
            predictor = predictor or (Predictor(run, weights, tta=tta, force=force) if readable else None)
            rows = iter(predictor(np.stack(readable)) if predictor and readable else ())
            for image, found in zip(chunk, decoded, strict=True):
                if isinstance(found, BadImageError):
                    if on_bad_image == "error":
                        raise found
                    predictions.append(Prediction(image, (), found.reason))
                else:
                    predictions.append(Prediction(image, _most_probable(next(rows), run.record.data.class_names, top)))
            advance(len(chunk))
    return predictions


def _shown(count: int) -> AbstractContextManager[Advance]:
    """Progress, where there is more than a batch."""
    if count <= BATCH_SIZE:
        return nullcontext(lambda amount: None)
    return progress(f"Classifying {counted(count, 'image')}", count)


class Predictor:
    """The trained network of a run, with what its pictures need.

    Args:
        run: the run.
        weights, tta, force: as for `predict`.
    """

    def __init__(self, run: Run, weights: Weights = "best", *, tta: bool = False, force: bool = False) -> None:
        with backend.standard_settings():
            model = fold_batch_norm(load_model(run, weights, force=force))
            self._model = with_mirrored(model, run.record.model.input_shape) if tta else model
        self._pixels = run.record.recipe.pixels

    def __call__(self, images: Bytes) -> np.ndarray:
        """Probabilities, float32 ``(N, num_classes)``, for uint8 RGB ``(N, size, size, 3)``."""
        with backend.standard_settings():
            return np.asarray(self._model.predict_on_batch(scale(images, self._pixels)))


def _pictures(images: Sequence[str | Path]) -> Iterator[Path]:
    """Files as they are, and the pictures in folders."""
    for image in map(Path, images):
        if image.is_dir():
            yield from find_images(image)
        else:
            yield image


def _refuse_bad(files: Sequence[Path], max_pixels: int | None) -> None:
    """Refuse the first file that is missing or damaged.

    Raises:
        BadImageError: there is one.
    """
    for found in decode_each(files[:BATCH_SIZE], (1,), max_pixels=max_pixels):
        if isinstance(found, BadImageError):
            raise found
    for file in files[BATCH_SIZE:]:
        if not file.is_file():
            raise BadImageError(str(file), "no such file")


def _most_probable(probabilities: np.ndarray, names: Sequence[str], top: int) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((names[index], float(probabilities[index])) for index in order)
