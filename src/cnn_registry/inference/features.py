"""The pooled features of pictures: what a trained network knows of them before it decides on a class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnn_registry import backend
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.errors import BadImageError, UsageError
from cnn_registry.networks.graph import headless_network
from cnn_registry.runs.run import Run

from .model import Weights, load_network, spec_of
from .pictures import Picture
from .predictor import Predictor, picture_outputs

if TYPE_CHECKING:
    import keras


class Embedded(NamedTuple):
    """The features of one picture.

    Attributes:
        image: the file, or its address; ``None`` for a picture in memory.
        feature: float32 ``(C,)``; ``None`` where the picture cannot be read.
        reason: why it cannot be read, or an empty string.
    """

    image: Path | str | None
    feature: np.ndarray | None
    reason: str = ""


def feature_predictor(run: Run, weights: Weights = "best", *, force: bool = False) -> Predictor:
    """Gives the mean over each map of the last feature of a run's model, float32 ``(N, C)``.

    Where the model's spec names no features, it gives what its last layer takes.

    Args:
        run: the run.
        weights: ``"best"`` or ``"last"``.
        force: as for `load_model`.
    """

    def load() -> list[keras.Model]:
        spec = spec_of(run)
        network = load_network(run, spec, weights, force=force)
        if spec.features:
            return [headless_network(network, list(spec.features.values())[-1].layer, "avg")]
        return [_before_classifier(network, run)]

    record = run.record
    return Predictor(record.form, record.recipe.pixels, load, lambda: record.data.class_names)


def _before_classifier(network: keras.Model, run: Run) -> keras.Model:
    before: Any = getattr(network.layers[-1], "input", None)
    if len(getattr(before, "shape", ())) != 2:
        raise UsageError(f"The model of {run.location} names no features, and its last layer does not take a vector.")
    return backend.keras().Model(network.inputs, before, name=network.name)


def embeddings(
    predictor: Predictor,
    pictures: Iterable[Picture],
    *,
    on_bad_image: OnBadImage = "error",
    max_pixels: int | None = None,
) -> Iterator[Embedded]:
    """The features of pictures, while the next ones are decoded.

    Args:
        predictor: of features.
        pictures: in files or in memory; there may be any number.
        on_bad_image, max_pixels: as for `cnn_registry.predict`.

    Raises:
        BadImageError: a picture cannot be read, and ``on_bad_image`` is ``"error"``.
    """
    for picture, row in picture_outputs(predictor, pictures, on_bad_image=on_bad_image, max_pixels=max_pixels):
        if isinstance(row, BadImageError):
            yield Embedded(picture.name, None, row.reason)
        else:
            yield Embedded(picture.name, row)
