"""What will be trained, how and on which images: a value that can be made and looked at before anything is written."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

from cnn_registry import backend
from cnn_registry.data.checks import findings
from cnn_registry.data.dataset import ImageDataset, Indices, Split
from cnn_registry.data.form import IN_WORDS, Size, height_and_width, in_proportion
from cnn_registry.data.image import READ_LARGER, are_too_large
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.manifest import Manifest, as_source, columns_of, path_of, weights_digest
from cnn_registry.data.pipeline.batches import check_memory
from cnn_registry.data.pipeline.steps import check_steps, configurations
from cnn_registry.data.sources.load import load_forms
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.data.split import check_split, make_split, split_name
from cnn_registry.errors import UsageError
from cnn_registry.networks.weights.source import find_source
from cnn_registry.recipes.resolution import Layer, Resolved, resolve
from cnn_registry.recipes.schema import PhotoSettings, Recipe
from cnn_registry.registry.datasets import get_dataset_spec
from cnn_registry.registry.models import checked_input_shape, refuse_unknown_options
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.runs.machine import machine, training_process, versions
from cnn_registry.runs.record import (
    ACTIVATION,
    SIGMOID,
    DataRecord,
    ModelRecord,
    OptionsRecord,
    RunRecord,
    SplitRecord,
    hashes_of,
)
from cnn_registry.runs.run import is_run, load_run
from cnn_registry.system.hub import hub_address, pinned
from cnn_registry.system.progress import note, repeated, working
from cnn_registry.text import as_text, counted, either, without_credentials
from cnn_registry.training.fit import Images
from cnn_registry.training.network import check_parts

from .foreign import refuse_foreign_code

FINE_TUNE = "fine_tune"
"""The recipe for training from given weights where none is named."""

GIVEN = "--set"
"""The origin of single settings, on the command line or in Python."""

FOR_THE_IMAGES = "for these images and this model"
FOR_THE_MACHINE = "for this machine"


@dataclass(frozen=True)
class Request:
    """What is asked for: the arguments of `cnn_registry.train` that decide what is trained, and on which images.

    Attributes:
        spec: the model's spec.
        dataset, data, recipe, settings, split, on_bad_image, max_pixels: see there.
    """

    spec: ModelSpec
    dataset: str | None = None
    data: str | Path | Manifest | None = None
    recipe: str | Path | Recipe | None = None
    settings: Mapping[str, Any] | None = None
    split: str | None = None
    on_bad_image: OnBadImage = "skip"
    max_pixels: int | None = None


@dataclass(frozen=True)
class Plan:
    """What will be trained.

    Attributes:
        spec: the model's spec.
        form: in which form it is built.
        resolved: how it is trained, with everything resolved, and where each value comes from.
        images: the readable images, decoded.
        split: which of them are for what.
        data: what a run records of the images.
        parts: what a run records of the split.
    """

    spec: ModelSpec
    form: ModelRecord
    resolved: Resolved
    images: Images
    split: Split
    data: DataRecord
    parts: SplitRecord

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        return self.resolved.recipe

    def record(self, options: OptionsRecord, fingerprint: str) -> RunRecord:
        """The record of a run that begins now, of a network with that fingerprint."""
        return RunRecord(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=[without_credentials(as_text(argument)) for argument in sys.argv],
            model=self.form.model_copy(update={"fingerprint": fingerprint}),
            recipe=self.recipe,
            data=self.data,
            split=self.parts,
            versions=versions(),
            machine=machine(),
            process=training_process(),
            options=options,
            steps=configurations(self.recipe.augmentation.steps),
        )

    def findings(self) -> list[str]:
        """What its images have that makes results misleading, a line each."""
        return [str(finding) for finding in findings(self.images.evaluation, self.split)]

    def line(self) -> str:
        """The plan in one line."""
        height, width, channels = self.form.input_shape
        colours = "" if channels == 3 else f" in {IN_WORDS[channels]}"
        precision = "" if self.recipe.precision == "float32" else f", in {self.recipe.precision}"
        return (
            f"{self.spec.name} on {self.data.name}: {len(self.split.train):,} training and "
            f"{counted(len(self.split.val), 'validation image')} of {counted(len(self.data.class_names), 'class')} at "
            f"{height}x{width}{colours}, recipe {self.recipe.name}{precision}, {counted(self.recipe.epochs, 'epoch')}"
        )


def check_request(request: Request) -> None:
    """Refuse what is mistyped before Keras is imported, which takes seconds.

    Raises:
        UnknownNameError: there is no such recipe, dataset or setting.
        RecipeError: the recipe or a setting is wrong.
        DataError: the images are not there.
    """
    _asked(request.spec, request.recipe, request.settings or {})
    source = as_source(request.data)
    if request.dataset is not None:
        get_dataset_spec(request.dataset)
    elif source is not None and not path_of(source).exists():
        load_dataset(None, source)


@repeated()
@working("Preparing the training")
def plan_training(request: Request, *, keep: bool = True) -> Plan:
    """The plan of a new training.

    Args:
        request: what is asked for.
        keep: whether decoded images are kept in the cache. A dataset that is missing is downloaded in any case.

    Raises:
        CnnRegistryError: something is wrong with the request or with the data.
    """
    spec, recipe = request.spec, request.recipe
    wanted = chosen_recipe(spec, recipe, request.settings or {})
    if weights := wanted.recipe.fine_tuning.weights:
        find_source(spec, weights).check_reader()
    refuse_foreign_code(wanted.recipe, f"The recipe {recipe}", from_files(recipe, wanted))
    check_parts(wanted.recipe)
    found = load_dataset(request.dataset, as_source(request.data))
    check_split(found, request.split)
    resolved = settled(wanted, spec, found)
    shape = checked_input_shape(spec, trained_shape(spec, resolved, found))
    chosen = resolved.recipe
    check_steps(chosen.augmentation.steps, shape)
    sizes = [shape[:2], chosen.decoded_form(shape).size, *chosen.sizes(shape)]
    check_memory(min(chosen.batch_size, len(found)), sizes, shape[2])
    images = decoded(found, chosen, shape, request.on_bad_image, request.max_pixels, keep=keep)
    if are_too_large(bad.reason for bad in images.evaluation.bad):
        note(READ_LARGER)
    readable, split = images.evaluation.dataset, request.split
    parts = make_split(readable, split, seed=chosen.seed if chosen.split_seed is None else chosen.split_seed)
    form = ModelRecord(
        spec=spec.to_dict(), options=dict(chosen.model), num_classes=len(readable.class_names), input_shape=shape
    )
    return Plan(
        spec,
        form,
        resolved,
        images,
        parts,
        _data_record(images.evaluation, request.dataset, request.data),
        _split_record(images.evaluation, parts, split_name(readable, split)),
    )


def chosen_recipe(spec: ModelSpec, recipe: str | Path | Recipe | None, settings: Mapping[str, Any]) -> Resolved:
    """The recipe with the model's adjustments and the user's settings, its model options checked.

    Pretrained weights bring what they were trained with: options of the model, and how it sees its pixels.

    Raises:
        UnknownNameError, RecipeError: as `load_recipe`.
        RunError: the recipe is a run directory that cannot be read.
        UnknownOptionError: the model has no such option.
        UsageError: the weights are not there, or belong to other options of the model.
        HubError, WeightsError, MissingPackageError: they cannot be fetched from a hub.
    """
    asked, single, resolved = _asked(spec, recipe, settings)
    weights = resolved.recipe.fine_tuning.weights
    if not weights:
        return resolved
    found: list[Layer] = []
    if address := hub_address(weights):  # a resumed training, and whoever repeats it, has the same commit
        weights = str(pinned(address))
        found = [Layer(f"commit of {address}", {"fine_tuning.weights": weights})]
    source = find_source(spec, weights)
    needs: dict[str, Any] = {"model": source.options(resolved.recipe.model)}
    if source.published:
        needs["pixels"] = source.published.pixels
    brought = Layer(f"weights {weights}", needs)
    resolved = resolve(asked, spec.recipe_settings, spec.name, [brought]).with_layer(single)
    return reduce(Resolved.with_layer, found, resolved)


def _asked(
    spec: ModelSpec, recipe: str | Path | Recipe | None, settings: Mapping[str, Any]
) -> tuple[str | Path | Recipe, Layer, Resolved]:
    """The recipe, the settings, and what both say, without what weights bring."""
    single = Layer(GIVEN, settings, own=True)
    if isinstance(recipe, str | Path) and is_run(recipe):
        recipe = load_run(recipe).record.recipe
    asked = recipe or (FINE_TUNE if settings.get("fine_tuning.weights") else spec.default_recipe)
    resolved = resolve(asked, spec.recipe_settings, spec.name).with_layer(single)
    refuse_unknown_options(spec, resolved.recipe.model)
    return asked, single, resolved


def from_files(recipe: str | Path | Recipe | None, resolved: Resolved) -> set[str]:
    """The settings that come from a file or a run, by dotted key."""
    if recipe is None or isinstance(recipe, Recipe):
        return set()
    of_run = is_run(recipe)
    return {key for key, _, origin in resolved.rows() if origin != GIVEN and (of_run or origin.endswith(".toml"))}


def settled(resolved: Resolved, spec: ModelSpec, dataset: ImageDataset) -> Resolved:
    """The recipe as it is carried out: with its sizes for these images and this model, and this machine's precision."""
    return with_precision(_with_scaled_rate(_sized(_for_labels(resolved, spec, dataset), spec, dataset)))


def with_precision(resolved: Resolved) -> Resolved:
    """The recipe with this machine's precision where it leaves the choice.

    Raises:
        UsageError: it has one that this machine does not.
    """
    precision = resolved.recipe.precision
    if precision == "float16" and not backend.tensorflow().config.list_physical_devices("GPU"):
        raise UsageError("precision=float16 needs a GPU, and TensorFlow finds none; use bfloat16, float32 or auto.")
    if precision != "auto":
        return resolved
    return resolved.with_layer(Layer(FOR_THE_MACHINE, {"precision": backend.best_precision()}))


def _with_scaled_rate(resolved: Resolved) -> Resolved:
    """The recipe with its learning rate for the images of a step, where it is meant for another number of them."""
    recipe, images = resolved.recipe, resolved.recipe.batch_size * resolved.recipe.accumulate
    meant = recipe.optimizer.for_images
    if meant in (None, images):
        return resolved
    rate = recipe.optimizer.learning_rate * images / meant
    scaled = {"optimizer.learning_rate": rate, "optimizer.for_images": images}
    return resolved.with_layer(Layer(f"for {images} images in place of {meant}", scaled))


NEEDS_ONE_LABEL: dict[str, tuple[str, ...]] = {
    "class_weights": ("none",),
    "sampling": ("shuffled",),
    "best_by": ("val_loss", "accuracy", "last"),
}
"""Settings that are defined for images with one class each, and the values that they may have for others."""


def _for_labels(resolved: Resolved, spec: ModelSpec, dataset: ImageDataset) -> Resolved:
    """The recipe as the labels need it: where an image may show several classes, sigmoids and binary cross-entropy.

    Raises:
        UsageError: the recipe has settings for the other kind of labels, or the model has no such outputs.
    """
    recipe, several = resolved.recipe, dataset.multi_label
    if not several and recipe.model.get(ACTIVATION) == SIGMOID:
        raise UsageError(
            f"model.{ACTIVATION} = {SIGMOID} is for images with several labels; those of {dataset.name} have one each."
        )
    if not several:
        return resolved
    if ACTIVATION not in spec.options:
        raise UsageError(
            f"{_several(dataset)}, which need sigmoid outputs; {spec.name} has no option {ACTIVATION!r} for them."
        )
    settings: dict[str, Any] = {f"model.{ACTIVATION}": SIGMOID}
    if recipe.loss.name == "cross_entropy" and "loss.name" not in resolved.own:
        settings["loss.name"] = "binary_cross_entropy"
    if not recipe.metrics:
        classes = len(dataset.class_names)
        settings["metrics"] = [f"AUC,curve=PR,multi_label=true,num_labels={classes},name=mean_average_precision"]
    resolved = resolved.with_layer(Layer(FOR_THE_IMAGES, settings))
    check_for_labels(resolved.recipe, dataset)
    return resolved


def check_for_labels(recipe: Recipe, dataset: ImageDataset) -> None:
    """Refuse settings for images with one class each, where an image may show several.

    Raises:
        UsageError: the recipe has one.
    """
    if not dataset.multi_label:
        return
    for key, allowed in NEEDS_ONE_LABEL.items():
        if (value := getattr(recipe, key)) not in allowed:
            raise UsageError(
                f"{_several(dataset)}; {key} = {value} is for images with one. Set {key} to {either(allowed)}."
            )
    if recipe.loss.name in ("cross_entropy", "focal", "poly1"):
        raise UsageError(
            f"{_several(dataset)}; the loss {recipe.loss.name} is for images with one. Use binary_cross_entropy."
        )


def _several(dataset: ImageDataset) -> str:
    return f"{dataset.name} has images with several labels"


def _sized(resolved: Resolved, spec: ModelSpec, dataset: ImageDataset) -> Resolved:
    """The recipe with the sizes that it has for these images and this model."""
    recipe = resolved.recipe
    if recipe.photos is None or recipe.image_size or _natural_size(spec, dataset):
        return resolved
    sizes = photo_sizes(resolved, spec).model_dump(mode="json")
    height, width, _ = spec.input_shape
    size = in_proportion(sizes.pop("size"), height, width)
    return resolved.with_layer(Layer(FOR_THE_IMAGES, {"image_size": list(size), **sizes}))


def _natural_size(spec: ModelSpec, dataset: ImageDataset) -> int | Size | None:
    """The dataset's own size; not of squares where the model is for rectangles."""
    height, width, _ = spec.input_shape
    return None if isinstance(dataset.image_size, int) and height != width else dataset.image_size


def photo_sizes(resolved: Resolved, spec: ModelSpec) -> PhotoSettings:
    """The recipe's sizes for photographs, as they are for this model; it has some."""
    photos = resolved.recipe.photos
    assert photos is not None
    meant = resolved.inherited.get("photos.size", photos.size)  # for which the other sizes were chosen
    size = photos.size
    if "photos.size" not in resolved.own:
        adjusts = any("photos.size" in settings for settings in spec.recipe_settings.values())
        size = max(size if adjusts else min(size, *spec.input_shape[:2]), spec.min_size)

    def scaled(key: str, edge: int) -> int:
        return edge if key in resolved.own else max(round(edge * size / meant), spec.min_size)

    return PhotoSettings(
        size=size,
        decode_size=photos.decode_size and scaled("photos.decode_size", photos.decode_size),
        train_sizes=tuple(scaled("photos.train_sizes", edge) for edge in photos.train_sizes),
    )


def trained_shape(spec: ModelSpec, resolved: Resolved, dataset: ImageDataset) -> tuple[int, int, int]:
    """The shape that the model is built for."""
    size = resolved.recipe.image_size or _natural_size(spec, dataset)
    return (*(height_and_width(size) if size else spec.input_shape[:2]), resolved.recipe.channels)


def decoded(
    dataset: ImageDataset,
    recipe: Recipe,
    shape: tuple[int, int, int],
    on_bad_image: OnBadImage,
    max_pixels: int | None = None,
    *,
    keep: bool = True,
    streamed: bool = False,
) -> Images:
    """The readable images in the forms of evaluation and of decoding for training; ``shape`` is the network's."""
    forms = recipe.decoded_form(shape), recipe.form(shape)
    loaded = load_forms(dataset, forms, on_bad_image=on_bad_image, max_pixels=max_pixels, keep=keep, streamed=streamed)
    return Images(training=loaded[forms[0]], evaluation=loaded[forms[1]])


def dataset_of(found: ImageDataset, dataset: str | None, data: str | Path | Manifest | None) -> str | None:
    """What a run records as its dataset's name: that of what was ``found``, or ``None`` for a folder or a table."""
    return None if dataset is None and data is not None else found.name


def _data_record(images: LoadedImages, dataset: str | None, data: str | Path | Manifest | None) -> DataRecord:
    found = images.dataset
    return DataRecord(
        dataset=dataset_of(found, dataset, data),
        name=as_text(found.name),
        source=as_text(found.source),
        given=None if data is None else as_text(str(path_of(data).absolute())),
        columns=columns_of(data),
        weights=weights_digest(found),
        digest=images.digest,
        class_names=list(found.class_names),
        left_out={bad.id: bad.reason for bad in images.bad},
    )


def _split_record(images: LoadedImages, split: Split, name: str) -> SplitRecord:
    def ids(indices: Indices) -> list[str]:
        return [images.dataset.ids[index] for index in indices]

    return SplitRecord(
        name=name,
        train=ids(split.train),
        val=ids(split.val),
        test=ids(split.test),
        trained=[] if images.is_of_names else hashes_of(images.hashes, split.train),
    )
