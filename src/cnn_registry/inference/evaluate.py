"""How well a model does on images whose classes are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnn_registry import backend
from cnn_registry.data.classes import in_classes
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.manifest import Manifest, as_source
from cnn_registry.data.pipeline.batches import evaluation_batches, reading
from cnn_registry.data.sources.load import load_images
from cnn_registry.data.sources.loaded import BadImage, LoadedImages, report_bad
from cnn_registry.data.split import positions
from cnn_registry.errors import DataError, UsageError
from cnn_registry.networks.folding import fold_batch_norm
from cnn_registry.networks.graph import traced_call
from cnn_registry.networks.mirrored import with_mirrored
from cnn_registry.registry.spec import Pixels
from cnn_registry.runs.folds import open_runs
from cnn_registry.runs.record import hashes_of
from cnn_registry.runs.run import Run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.progress import Advance, working
from cnn_registry.text import counted

from .evaluation import Evaluation
from .model import Weights, load_model, refuse_not_finite
from .multi_label import MultiLabelEvaluation

if TYPE_CHECKING:
    import keras
    from tensorflow.data import Dataset

PartName = Literal["train", "val", "test", "all"]


def evaluate_model(
    model: keras.Model,
    images: LoadedImages,
    indices: np.ndarray,
    *,
    pixels: Pixels,
    batch_size: int,
    part: str,
    thresholds: Sequence[float] | None = None,
    traced: Callable[[Any], Any] | None = None,
) -> Evaluation:
    """Predict the images at ``indices`` and put the truth beside it. Unreadable ones are left out, with a note.

    Where an image may show several classes, these are those that reach their ``thresholds``; ``None`` chooses them.
    ``traced`` computes the outputs of a batch; default the model, which is traced for it.

    Raises:
        WeightsError: an output is NaN or infinite.
    """
    batches = evaluation_batches(images, indices, batch_size=batch_size, pixels=pixels)
    what = f"Evaluating {counted(len(indices), 'image')}"
    with reading(images), working(what, total=len(indices), after=1.0) as advance:
        outputs = _outputs(traced or traced_call(model, batches.element_spec[0]), batches, advance)
    readable = images.unreadable.readable(indices)
    if len(readable) < len(indices):
        outputs = outputs[np.isin(indices, readable)]
        left_out = {index: images.unreadable.reasons[index] for index in np.setdiff1d(indices, readable).tolist()}
        report_bad([BadImage(images.dataset.ids[i], why) for i, why in left_out.items()], len(indices), "skip")
        indices = readable
    refuse_not_finite(outputs)
    found = (images.dataset.class_names, images.dataset.labels[indices], outputs, part)
    if not images.dataset.multi_label:
        return Evaluation(*found)
    return MultiLabelEvaluation(*found, None if thresholds is None else np.array(thresholds, float))


def _outputs(traced: Callable[[Any], Any], batches: Dataset, advance: Advance) -> np.ndarray:
    """What a model says of all images, float32."""
    outputs = []
    for images, _ in batches:
        outputs.append(np.asarray(traced(images)))
        advance(len(images))
    return np.concatenate(outputs).astype("float32")


@checked_arguments
@working("Evaluating")
def evaluate(
    run: Run | str | Path,
    *,
    dataset: str | None = None,
    data: str | Path | Manifest | None = None,
    part: PartName | None = None,
    weights: Weights = "best",
    tta: bool = False,
    max_pixels: int | None = None,
    force: bool = False,
) -> Evaluation:
    """Evaluate a run's model, on the run's own images or on others.

    Args:
        run: the run, its directory, or its repository ``hf://user/name[@revision]``. The directory of a
            cross-validation stands for the mean of its models; its own ``"val"`` images are each evaluated by the one
            model that was not trained on them.
        dataset, data: as in ``train``; default the run's own.
        part: of the run's own images, default ``"val"``; of others, default all of them.
        weights: ``"best"`` or ``"last"``.
        tta: average the probabilities of each image and its mirror image, which takes twice the time: Krizhevsky et
            al. (2012), section 4.1.
        max_pixels: of other images, the largest that is read, width times height; default that of the run's own, which
            are read as in training.
        force: as for `load_model`.

    Returns:
        The probabilities of each image beside its true class, with the figures that follow from them.

    Raises:
        DataError: the images are missing, have changed since the run, or have no class that the run knows.
        UsageError: the data has no such part, or ``max_pixels`` is given for the run's own images.
        RunError: there is no run, or the cross-validation is not complete.
        BackendError: Keras runs on another backend than TensorFlow.
        WeightsError: the network gives NaN or infinity, or as `load_run`.
        HubError, MissingPackageError: as `load_run`.
    """
    backend.require_tensorflow()
    runs = [run] if isinstance(run, Run) else open_runs(run)
    given = dataset is not None or data is not None
    if not given:
        refuse_max_pixels(max_pixels)
    if len(runs) > 1 and not given:
        if part in (None, "val"):
            each = [evaluate(fold, weights=weights, tta=tta, force=force) for fold in runs]
            return joined(each, f"validation images of {len(runs)} folds, each by the model not trained on it")
        if part == "train":
            raise UsageError("Each fold of a cross-validation trains on other images; use --part val, test or all.")
    first = runs[0]
    own = (first.record.data.dataset, None if given else own_source(first))
    loaded = load_dataset(dataset, as_source(data), min_classes=1) if given else load_dataset(*own)
    refuse_other_labels(first, loaded)
    limit = max_pixels or first.record.options.max_pixels
    images = load_images(loaded, first.record.form, max_pixels=limit)
    if images.are_of(first.record.data.digest, first.record.data.unused):
        indices, what = _own_part(first, images, part or ("val" if len(runs) == 1 else "all"))
    elif given:
        if images.files is not None:
            images.files.hash_unknown()  # images that the model was trained on are counted by their content
        images = in_classes(images, first.record.data.class_names)
        indices, what = _foreign_part(images, part or "all")
    else:
        raise DataError(
            f"The images at {first.record.data.source} have changed since the run, so what it has not seen is not "
            f"known. Put them back; cnnreg evaluate takes others with --data."
        )
    if part != "train" and (trained := _trained_on(runs, images, indices)):
        what = f"{what}, {trained} of which the model was trained on"
    if len(runs) > 1:
        what = f"{what}, the mean of {len(runs)} models"
    if tta:
        what = f"{what}, each with its mirror image"
    each = [_evaluate_run(fold, images, indices, what, weights, tta=tta, force=force) for fold in runs]
    return each[0] if len(each) == 1 else averaged(each)


def refuse_max_pixels(max_pixels: int | None) -> None:
    """Refuse a limit for the run's own images: those that it lets in or leaves out would not be those of the run.

    Raises:
        UsageError: there is one.
    """
    if max_pixels is not None:
        raise UsageError(
            "--max-pixels is for other images, which --data names; those of the run are read as in its training."
        )


def refuse_other_labels(run: Run, dataset: ImageDataset) -> None:
    """Refuse images with several labels for a model of one, and the other way around.

    Raises:
        DataError: the images are of the other kind.
    """
    several = {True: "any number of labels", False: "one label each"}
    if dataset.multi_label != run.record.model.multi_label:
        raise DataError(
            f"The images of {dataset.source} have {several[dataset.multi_label]}; those that "
            f"{run.location} was trained on have {several[run.record.model.multi_label]}."
        )


def _evaluate_run(
    run: Run, images: LoadedImages, indices: np.ndarray, what: str, weights: Weights, *, tta: bool, force: bool
) -> Evaluation:
    """What one run's model says of images."""
    recipe = run.record.recipe
    with backend.standard_settings():
        model = fold_batch_norm(load_model(run, weights, force=force))
        if tta:
            model = with_mirrored(model, run.record.model.input_shape)
        return evaluate_model(
            model,
            images,
            indices,
            pixels=recipe.pixels,
            batch_size=recipe.batch_size,
            part=what,
            thresholds=run.record.thresholds,
        )


def joined(evaluations: Sequence[Evaluation], part: str) -> Evaluation:
    """Evaluations of different images, such as those of the folds of a cross-validation, as one.

    Args:
        evaluations: of models with the same classes.
        part: what was evaluated, after the number of images.
    """
    labels = np.concatenate([one.labels for one in evaluations])
    probabilities = np.concatenate([one.probabilities for one in evaluations])
    return _changed(evaluations, labels, probabilities, f"{len(labels)} {part}")


def averaged(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The mean of what several models say of the same images."""
    first = evaluations[0]
    mean = np.asarray(np.mean([one.probabilities for one in evaluations], axis=0), np.float32)
    return _changed(evaluations, first.labels, mean, first.part)


def _changed(evaluations: Sequence[Evaluation], labels: np.ndarray, probabilities: np.ndarray, part: str) -> Evaluation:
    """The first evaluation with other images or outputs; thresholds are the mean of all."""
    changed = replace(evaluations[0], labels=labels, probabilities=probabilities, part=part)
    thresholds = [one.thresholds for one in evaluations if one.thresholds is not None]
    return replace(changed, thresholds=np.mean(thresholds, axis=0)) if thresholds else changed


def _trained_on(runs: Sequence[Run], images: LoadedImages, indices: np.ndarray) -> int:
    """How many of the images at ``indices`` have the content of one that a run was trained on."""
    trained = {image for run in runs for image in run.record.split.trained}
    return sum(image in trained for image in hashes_of(images.hashes, indices))


def source_of(run: Run, data: str | Path | Manifest | None) -> Path | Manifest | None:
    """Where the run's images are: where ``data`` says, with the run's columns of a table, or `own_source`."""
    return own_source(run) if data is None else as_source(data, run.record.data.columns)


def own_source(run: Run) -> Path | Manifest | None:
    """Where the user said that the run's images are; ``None`` where the dataset finds them by itself.

    Raises:
        DataError: they are no longer there, or the run comes from a hub, which has no images.
    """
    if run.record.data.given is None:
        return None
    if run.is_fetched:
        raise DataError(f"{run.location} has no images. Name yours with --data.")
    source = Path(run.record.data.given)
    if not source.exists():
        raise DataError(
            f"The images of {run.location} are no longer at {source}. Move them back; cnnreg evaluate and cnnreg train "
            f"--resume take their new place with --data."
        )
    return as_source(source, run.record.data.columns)


def _own_part(run: Run, images: LoadedImages, part: PartName) -> tuple[np.ndarray, str]:
    """Where the images are that the run recorded for ``part``."""
    if part == "all":
        return np.arange(len(images.dataset.labels)), "all images"
    unused = set(run.record.data.unused)
    recorded: list[str] = [image for image in getattr(run.record.split, part) if image not in unused]
    if not recorded:
        raise UsageError(f"The run's split {run.record.split.name!r} has no {part} images; use --part val.")
    return positions(images.dataset, recorded), f"{part} images of the run"


def _foreign_part(images: LoadedImages, part: PartName) -> tuple[np.ndarray, str]:
    dataset = images.dataset
    if part == "all":
        return np.arange(len(dataset.labels)), f"all images of {dataset.name}"
    if dataset.default_split is None:
        raise UsageError(f"{dataset.name} is not the run's data and has no {part} part of its own; leave --part out.")
    indices: np.ndarray = getattr(dataset.splits[dataset.default_split], part)
    if not len(indices):
        raise UsageError(f"{dataset.name} has no {part} images; leave --part out.")
    return indices, f"{part} images of {dataset.name}"
