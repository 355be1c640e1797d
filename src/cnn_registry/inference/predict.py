"""What a trained model sees in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnn_registry.data.image import decode
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.errors import DataError, UsageError
from cnn_registry.networks.folding import fold_batch_norm
from cnn_registry.networks.mirrored import with_mirrored
from cnn_registry.runs.run import Run

from .model import Weights, load_model

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, the most probable first.

    Attributes:
        image: the file.
        classes: ``(name, probability)`` pairs.
    """

    image: Path
    classes: tuple[tuple[str, float], ...]


def predict(
    run: Run, images: Sequence[Path], *, top: int = 5, weights: Weights = "best", tta: bool = False
) -> list[Prediction]:
    """Classify picture files of any kind and size.

    Args:
        run: the run whose model is used.
        images: the files.
        top: how many classes to give for each.
        weights: ``"best"`` or ``"last"``.
        tta: average over each picture and its mirror image, see `with_mirrored`.

    Raises:
        BadImageError: a file is missing or is no picture; nothing is predicted then.
        RunError, UnknownNameError, ModelBuildError: as `load_model`.
    """
    if top < 1:
        raise UsageError(f"The number of classes to show must be 1 or more; got {top}.")
    if missing := [image for image in images if not image.is_file()]:
        raise DataError(f"There is no file {missing[0]}.")
    size = run.record.model.input_shape[0]
    model = fold_batch_norm(load_model(run, weights))
    if tta:
        model = with_mirrored(model)
    predictions: list[Prediction] = []
    for start in range(0, len(images), BATCH_SIZE):
        chunk = images[start : start + BATCH_SIZE]
        pixels = scale(np.stack([decode(image, size) for image in chunk]), run.record.recipe.pixels)
        probabilities = np.asarray(model.predict_on_batch(pixels))
        predictions += [
            Prediction(image, _most_probable(row, run.record.data.class_names, top))
            for image, row in zip(chunk, probabilities, strict=True)
        ]
    return predictions


def _most_probable(probabilities: np.ndarray, names: Sequence[str], top: int) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((names[index], float(probabilities[index])) for index in order)
