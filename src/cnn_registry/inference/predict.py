"""What a trained model sees in pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.data.pipeline.batches import scale
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.errors import BadImageError, UsageError
from cnn_registry.registry.models import get_spec, list_models
from cnn_registry.runs.folds import open_runs
from cnn_registry.runs.run import Run, local_run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.progress import progress
from cnn_registry.text import counted, either

from .pictures import BATCH_SIZE, Picture, decoded_batches, given
from .predictor import (
    Predictor,
    Runtime,
    check_runtime,
    picture_outputs,
    published_predictor,
    run_predictor,
    runs_predictor,
)

RUN_WEIGHTS = ("best", "last")


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, the most probable first.

    It is also the sequence of its classes: ``name, probability = prediction[0]``.

    Attributes:
        image: the file, or its address; ``None`` for a picture in memory.
        classes: ``(name, probability)`` pairs; empty where the picture cannot be read.
        reason: why it cannot be read, or an empty string.
        labels: where a picture may show several classes, those whose probability reaches their threshold, the most
            probable first; else ``None``.
    """

    image: Path | str | None
    classes: tuple[tuple[str, float], ...]
    reason: str = ""
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(self.classes)

    def __getitem__(self, index: int) -> tuple[str, float]:
        return self.classes[index]

    def __bool__(self) -> bool:
        """Always true: a picture that cannot be read also has a prediction, with its ``reason``."""
        return True


@checked_arguments
def predict(
    run: Run | str | Path,
    images: Any,
    *,
    top: int = 5,
    weights: str = "best",
    tta: bool = False,
    on_bad_image: OnBadImage = "error",
    max_pixels: int | None = None,
    force: bool = False,
    runtime: Runtime = "keras",
) -> Any:
    """Classify pictures of any kind and size with a trained model.

    Args:
        run: the run whose model is used, its directory, or its repository ``hf://user/name[@revision]``; the directory
            of a cross-validation, for the mean of its models; or the name of a model, with published ``weights``.
        images: a path, an image of Pillow's, an array ``(H, W, C)`` or ``(N, H, W, C)`` of uint8 with 1, 3 or 4
            channels, or an iterable of these. A folder stands for the pictures in it, at any depth, in natural order.
            They are converted to what the model takes.
        top: how many classes to give for each.
        weights: ``"best"`` or ``"last"`` of a run; for a model, weights that ``get_spec(name).weights`` names, for
            instance ``"keras:imagenet"``.
        tta: average the probabilities of each picture and its mirror image, which takes twice the time: Krizhevsky
            et al. (2012), section 4.1.
        on_bad_image: ``"error"`` to raise for a picture that cannot be read, ``"skip"`` to give its reason instead.
        max_pixels: the largest picture that is read, width times height; default Pillow's limit of 89 million.
        force: as for `load_model`.
        runtime: ``"onnx"`` to compute by ONNX Runtime, which is faster for one image at a time and gives the same
            probabilities to 1e-4. The network is converted first, which takes from 10 seconds to a minute.

    Returns:
        A `Prediction` for one picture; a list of them, in order, for a folder, several arrays or a list; and for an
        iterator an iterator, which takes from yours a batch at a time, so neither needs an end.

    Raises:
        UsageError: the pictures are given in another form, or there are none; the model has no such weights.
        BadImageError: a picture is missing or cannot be read, and ``on_bad_image`` is ``"error"``.
        DataError: a folder holds no pictures.
        RunError, ModelBuildError: as `load_model`.
        ExportError, MissingPackageError: the network cannot be converted to the runtime, or that is not installed.
        DownloadError, WeightsError: a repository, published weights, or the names of their classes, could not be
            fetched or used, or the network gives NaN or infinity.
    """
    if top < 1:
        raise UsageError(f"The number of classes to show must be at least 1; got {top}.")
    found = given(images)
    predictor = find_predictor(run, weights, tta=tta, force=force, runtime=runtime)
    if found.kind == "stream":
        return predictions(predictor, found.pictures, top=top, on_bad_image=on_bad_image, max_pixels=max_pixels)
    every = list(found.pictures)
    if on_bad_image == "error":  # before the model is loaded, which takes seconds
        _refuse_missing(every)
    advance = progress(f"Classifying {counted(len(every), 'image')}", len(every))
    results = []
    with advance if len(every) > BATCH_SIZE else nullcontext(lambda amount: None) as done:
        for result in predictions(predictor, every, top=top, on_bad_image=on_bad_image, max_pixels=max_pixels):
            results.append(result)
            done(1)
    return results[0] if found.kind == "one" else results


def find_predictor(
    run: Run | str | Path,
    weights: str = "best",
    *,
    tta: bool = False,
    force: bool = False,
    runtime: Runtime = "keras",
) -> Predictor:
    """What predicts: the model of a run, those of a cross-validation, or one with published weights.

    Args:
        run, weights, tta, force, runtime: as for `predict`.

    Raises:
        CnnRegistryError: as `predict`.
    """
    check_runtime(runtime)
    if isinstance(run, Run):
        return run_predictor(run, weights, tta=tta, force=force, runtime=runtime)
    path = local_run(run)
    if weights not in RUN_WEIGHTS and not os.path.exists(path / "run.json"):  # noqa: PTH110 - for long names as well
        return published_predictor(str(run), weights, tta=tta, runtime=runtime)
    if not os.path.exists(path) and str(run) in list_models():  # noqa: PTH110 - as above
        if published := get_spec(str(run)).weights:
            raise UsageError(f"{run} is a model, not a run. Name its weights, {either(published)}, or a run directory.")
        raise UsageError(f"{run} is a model, not a run, and has no published weights. Name a run directory.")
    return runs_predictor(open_runs(path), weights, tta=tta, force=force, runtime=runtime)


def predictions(
    predictor: Predictor,
    pictures: Iterable[Picture],
    *,
    top: int = 5,
    on_bad_image: OnBadImage = "error",
    max_pixels: int | None = None,
) -> Iterator[Prediction]:
    """Classify pictures while the next ones are decoded.

    Args:
        predictor: the model; it is loaded at the first picture that can be read.
        pictures: in files or in memory; there may be any number.
        top, on_bad_image, max_pixels: as for `predict`.

    Raises:
        BadImageError: as `predict`.
    """
    for picture, row in picture_outputs(predictor, pictures, on_bad_image=on_bad_image, max_pixels=max_pixels):
        if isinstance(row, BadImageError):
            yield Prediction(picture.name, (), row.reason, None if predictor.thresholds is None else ())
        else:
            classes = most_probable(row, predictor.class_names, top)
            yield Prediction(picture.name, classes, labels=labels_shown(row, predictor))


@checked_arguments
def preprocess(run: Run, images: Any, *, max_pixels: int | None = None) -> Any:
    """Pictures in the form in which the model of a run takes them.

    Args:
        run: the run.
        images: as for `predict`.
        max_pixels: as for `predict`.

    Returns:
        float32 ``(N, height, width, channels)``, with N = 1 for one picture, so that ``run.model()`` takes it as it is;
        for an iterator, an iterator of such arrays of up to 32 pictures.

    Raises:
        UsageError, BadImageError, DataError: as `predict`.
    """
    found, record = given(images), run.record

    def batches() -> Iterator[np.ndarray]:
        for batch in decoded_batches(found.pictures, record.form, max_pixels):
            if error := batch.first_error:
                raise error
            yield scale(batch.readable, record.recipe.pixels)

    return batches() if found.kind == "stream" else np.concatenate(list(batches()))


def most_probable(probabilities: np.ndarray, names: Sequence[str], top: int) -> tuple[tuple[str, float], ...]:
    """The ``top`` classes with their probabilities, the most probable first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((names[index], float(probabilities[index])) for index in order)


def labels_shown(probabilities: np.ndarray, predictor: Predictor) -> tuple[str, ...] | None:
    """The classes that reach their thresholds, the most probable first; ``None`` where there are none to reach."""
    if predictor.thresholds is None:
        return None
    order = np.argsort(-probabilities, kind="stable")
    return tuple(predictor.class_names[index] for index in order if probabilities[index] >= predictor.thresholds[index])


def _refuse_missing(pictures: Sequence[Picture]) -> None:
    """Refuse the first file that is not there.

    Raises:
        BadImageError: there is one.
    """
    for picture in pictures:
        if isinstance(picture.content, Path) and not os.path.isfile(picture.content):  # noqa: PTH113 - as above
            raise BadImageError(str(picture.name), "no such file")
