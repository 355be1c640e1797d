"""Explanations of picture files with the model of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_registry.data.dataset import Bytes
from cnn_registry.data.fitting import fitted, in_channels, pixels
from cnn_registry.errors import UsageError
from cnn_registry.inference.model import Weights
from cnn_registry.inference.pictures import Picture, given
from cnn_registry.runs.run import Run, load_run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.text import suggestion

from .colours import WHOLE, overlay
from .grad_cam import GradCam

LONGEST_EDGE = 640
"""Pictures of explanations have at most this many pixels on each side."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which places of a picture speak for a class.

    Attributes:
        image: the file; ``None`` for a picture in memory.
        class_name: the explained class.
        probability: what the network gives that class.
        predicted: the most probable class.
        weights: the raw map, float32 ``(h, w)`` at the resolution of the feature map, 0 or more.
        picture: uint8 RGB ``(height, width, 3)``, the picture at its own aspect ratio, at most 640 pixels wide or high.
        seen: which part of the picture the network saw: left, top, right and bottom as shares of its width and height.
    """

    image: Path | str | None
    class_name: str
    probability: float
    predicted: str
    weights: np.ndarray
    picture: Bytes
    seen: tuple[float, float, float, float] = WHOLE

    def overlay(self) -> Bytes:
        """The picture with the map over it, uint8 RGB ``(height, width, 3)``."""
        return overlay(self.picture, self.weights, self.seen)


class _Prepared(NamedTuple):
    """A picture as the network takes it, as it is shown, and which part of it the network sees."""

    taken: Bytes
    shown: Bytes
    seen: tuple[float, float, float, float]


class Explainer:
    """Explains pictures with the model of a run.

    Args:
        run, target, runner_up, feature, weights, max_pixels, force: as for `explain_images`.
    """

    def __init__(
        self,
        run: Run,
        *,
        target: str | None = None,
        runner_up: bool = False,
        feature: str | None = None,
        weights: Weights = "best",
        max_pixels: int | None = None,
        force: bool = False,
    ) -> None:
        self._names = run.record.data.class_names
        if target is not None and runner_up:
            raise UsageError("Either a target class or the runner-up is explained; leave one of the two out.")
        if target is not None and target not in self._names:
            raise UsageError(
                f"{run.location} has no class {target!r}.{suggestion(target, self._names)} labels.txt lists its "
                f"{len(self._names)} classes."
            )
        if runner_up and len(self._names) < 2:
            raise UsageError(f"{run.location} has one class, so there is no runner-up.")
        self._target = None if target is None else self._names.index(target)
        self._rank = int(runner_up)
        self._form, self._max_pixels = run.record.form, max_pixels
        self._cam = GradCam.of_run(run, feature, weights=weights, force=force)

    def __call__(self, pictures: Sequence[Picture]) -> list[Explanation]:
        """The explanations of pictures, in order.

        Raises:
            BadImageError: one cannot be read.
        """
        prepared = list(map(self._prepared, pictures))
        classes = None if self._target is None else [self._target] * len(prepared)
        found = self._cam(np.stack([picture.taken for picture in prepared]), classes, rank=self._rank)
        return [
            Explanation(
                picture.name,
                self._names[chosen],
                float(probabilities[chosen]),
                self._names[int(probabilities.argmax())],
                weights,
                shown,
                seen,
            )
            for picture, (_, shown, seen), weights, chosen, probabilities in zip(
                pictures, prepared, found.maps, found.classes.tolist(), found.probabilities, strict=True
            )
        ]

    def _prepared(self, picture: Picture) -> _Prepared:
        """A picture at the sizes that are needed; at its own, many would not fit into memory."""
        form = self._form
        image = picture.whole(self._max_pixels, alpha=form.channels == 4)
        shown = np.asarray(fitted(in_channels(image, 3), LONGEST_EDGE))
        return _Prepared(pixels(image, form), shown, form.seen(image.height, image.width))


@checked_arguments
def explain_images(
    run: Run | str | Path,
    images: Any,
    *,
    target: str | None = None,
    runner_up: bool = False,
    feature: str | None = None,
    weights: Weights = "best",
    max_pixels: int | None = None,
    force: bool = False,
) -> list[Explanation]:
    """Show which places of pictures speak for a class: Grad-CAM.

    Args:
        run: the run whose model is used, or its directory.
        images: as for `cnn_registry.predict`: paths, images of Pillow, uint8 arrays, or an iterable of these.
        target: the name of the class to explain; default the most probable one of each picture.
        runner_up: explain the second most probable class of each picture instead.
        feature: a feature of the model's spec, such as ``"stride16"``, or a layer; default the last feature.
        weights: ``"best"`` or ``"last"``.
        max_pixels: the largest picture that is read, width times height; default Pillow's limit of 89 million.
        force: as for `cnn_registry.load_model`.

    Returns:
        An explanation per picture, in order.

    Raises:
        UsageError: there is no such class, feature or layer, or something else than pictures was given.
        BadImageError: a file is missing or is not a picture.
        DataError: a folder holds no pictures.
        RunError, ModelBuildError: as `cnn_registry.load_model`.
        WeightsError: the network gives NaN or infinity, or as `cnn_registry.load_model`.
    """
    run = run if isinstance(run, Run) else load_run(run)
    pictures = list(given(images).pictures)
    explainer = Explainer(
        run,
        target=target,
        runner_up=runner_up,
        feature=feature,
        weights=weights,
        max_pixels=max_pixels,
        force=force,
    )
    return explainer(pictures)
