"""From names to a finished run: what ``cnnreg train`` and `cnn_registry.train` do."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from cnn_registry import backend
from cnn_registry.data.dataset import ImageDataset, Indices, Split
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.sources.cache import LoadedImages, OnBadImage, load_sizes
from cnn_registry.data.split import STRATIFIED, make_split
from cnn_registry.errors import CnnRegistryError, DivergedError, RunError, UsageError
from cnn_registry.inference.evaluate import evaluate_model
from cnn_registry.networks.acceleration import set_precision
from cnn_registry.networks.graph import main_network
from cnn_registry.networks.weights.keras_file import load_exactly
from cnn_registry.networks.weights.source import find_source
from cnn_registry.recipes.load import load_recipe
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import checked_input_shape, get_spec, refuse_unknown_options
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.report.write import write_report
from cnn_registry.runs.machine import machine, versions
from cnn_registry.runs.record import ENDED, DataRecord, ModelRecord, RunRecord, SplitRecord
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import Snapshot
from cnn_registry.runs.weights_file import without_optimizer
from cnn_registry.system.paths import as_text
from cnn_registry.system.progress import note
from cnn_registry.training.fit import Images, Manner, OnNaN, Trained, build_trainable, fit

if TYPE_CHECKING:
    import keras

Settings = Mapping[str, Any]

FINE_TUNE = "fine_tune"
"""The recipe for training on from given weights where none is named."""


ROLLBACKS = 3
"""How often a training goes back at most."""


@dataclass(frozen=True)
class Plan:
    """What will be trained, on what, and how; nothing is written yet."""

    spec: ModelSpec
    recipe: Recipe
    images: Images
    split: Split
    record: RunRecord


def train(
    model: str,
    *,
    dataset: str | None = None,
    data: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Settings | None = None,
    split: str | None = None,
    out: str | Path = "runs",
    on_bad_image: OnBadImage = "skip",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tensorboard: bool = False,
    checkpoint_minutes: float = 10.0,
    keep_going: bool = False,
    on_nan: OnNaN = "stop",
) -> Run:
    """Train a model and leave a run directory with weights, history, report and pictures.

    Seeds the generators of Python, NumPy and Keras with the recipe's seed.

    Args:
        model: a model's name, as for `create_model`.
        dataset: a data set's name; default the default data set, or the folder ``data``.
        data: a folder of class folders; with ``dataset``, where that data set's archive or images are.
        recipe: a built-in recipe's name, a TOML file, or a `Recipe`; default what the model's spec names, or
            ``"fine_tune"`` where the settings name weights.
        settings: dotted settings that replace the recipe's, for instance ``{"optimizer.learning_rate": 0.01}``.
        split: ``"stratified"``, ``"tuning"`` (see `make_split`), or one that the data set brings; default its own if
            it has one, else stratified.
        out: where the new run directory is made.
        on_bad_image: ``"skip"`` to leave unreadable images out with a warning, ``"error"`` to stop.
        callbacks: Keras callbacks, called after the loop's own.
        tensorboard: also write TensorBoard logs into the run directory.
        checkpoint_minutes: from one checkpoint to the next inside an epoch; there is one at each epoch's end, too.
        keep_going: train on without checkpoints where they cannot be written.
        on_nan: ``"stop"`` when the loss is no number, or ``"rollback"``: go back to the latest checkpoint and halve the
            learning rate, three times at most.

    Returns:
        The finished run. Its status is ``"interrupted"`` after Ctrl-C and ``"terminated"`` after SIGTERM; `resume` goes
        on with it.

    Raises:
        CnnRegistryError: one of its kinds, with a message that says what to do. What is wrong with the request or
            with the data is found before anything is written.
    """
    manner = Manner(callbacks, tensorboard, checkpoint_minutes, keep_going, on_nan)
    check_manner(manner)
    spec = get_spec(model)
    wanted = chosen_recipe(spec, recipe, settings or {})
    loaded = load_dataset(dataset, None if data is None else Path(data))
    chosen = settled(wanted, spec, loaded)
    shape = checked_input_shape(spec, _input_shape(spec, chosen, loaded))
    images = decoded(loaded, shape[0], chosen.decode_size, on_bad_image)
    found = images.evaluation.dataset
    split_seed = chosen.seed if chosen.split_seed is None else chosen.split_seed
    parts = make_split(found, split, seed=split_seed)
    record = RunRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=[as_text(argument) for argument in sys.argv],
        model=ModelRecord(
            spec=spec.to_dict(),
            options=dict(chosen.model),
            num_classes=len(found.class_names),
            input_shape=shape,
        ),
        recipe=chosen,
        data=_data_record(images.evaluation, dataset, data),
        split=_split_record(found, parts, split),
        versions=versions(),
        machine=machine(),
    )
    plan = Plan(spec, chosen, images, parts, record)
    network = build_trainable(record.model, chosen, len(parts.train), class_names=found.class_names)
    run = Run.create(Path(out), record)
    _announce(plan, run)
    with run.locked():
        return carry_out(network, plan, run, manner)


def check_manner(manner: Manner) -> None:
    """Refuse what cannot be done.

    Raises:
        UsageError: TensorBoard is not installed, or ``on_nan`` is neither of the two.
    """
    if manner.tensorboard and find_spec("tensorboard") is None:
        raise UsageError("TensorBoard is not installed. Install it with: pip install 'cnn-registry[tensorboard]'")
    if manner.on_nan not in get_args(OnNaN):
        raise UsageError(f"on_nan must be 'stop' or 'rollback'; got {manner.on_nan!r}.")


def chosen_recipe(spec: ModelSpec, recipe: str | Path | Recipe | None, settings: Settings) -> Recipe:
    """The recipe with the model's adjustments and the user's settings, its model options checked.

    Pretrained weights bring what they were trained with: options of the model, and how it sees its pixels.
    """
    fallback = FINE_TUNE if settings.get("fine_tuning.weights") else spec.default_recipe
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe or fallback)
    chosen = chosen.with_settings(dict(_adjustments(spec, chosen)) | dict(settings))
    refuse_unknown_options(spec, chosen.model)
    if not chosen.fine_tuning.weights:
        return chosen
    source = find_source(spec, chosen.fine_tuning.weights)
    pixels = {"pixels": source.published.pixels} if source.published else {}
    return chosen.with_settings({"model": source.options(chosen.model)} | pixels | dict(settings))


def _adjustments(spec: ModelSpec, recipe: Recipe) -> Settings:
    """What the model's spec changes in a recipe, and in the one that it extends."""
    names = (recipe.extends, recipe.name)
    return {key: value for name in names if name for key, value in spec.recipe_settings.get(name, {}).items()}


def _input_shape(spec: ModelSpec, recipe: Recipe, dataset: ImageDataset) -> tuple[int, int, int]:
    height, width, _ = spec.input_shape
    size = recipe.image_size or dataset.image_size
    return (size, size, 3) if size else (height, width, 3)


def settled(recipe: Recipe, spec: ModelSpec, dataset: ImageDataset) -> Recipe:
    """The recipe as it is carried out: with its sizes for these images and this model, and this machine's precision."""
    recipe = _sized(recipe, spec, dataset)
    if recipe.precision != "auto":
        return recipe
    return recipe.with_settings({"precision": "bfloat16" if backend.computes_bfloat16() else "float32"})


def _sized(recipe: Recipe, spec: ModelSpec, dataset: ImageDataset) -> Recipe:
    """The recipe with the sizes that it has for these images and this model."""
    photos = recipe.photos
    if photos is None or recipe.image_size or dataset.image_size:
        return recipe
    largest = photos.size if "photos.size" in _adjustments(spec, recipe) else spec.input_shape[0]
    size = max(min(photos.size, largest), spec.min_size)

    def scaled(edge: int) -> int:
        return max(round(edge * size / photos.size), spec.min_size)

    return recipe.with_settings(
        {
            "image_size": size,
            "decode_size": photos.decode_size and scaled(photos.decode_size),
            "train_sizes": [scaled(edge) for edge in photos.train_sizes],
        }
    )


def decoded(dataset: ImageDataset, size: int, decode_size: int | None, on_bad_image: OnBadImage) -> Images:
    """The readable images at the size of evaluation, and at that of decoding for training."""
    decode_size = decode_size or size
    loaded = load_sizes(dataset, (decode_size, size), on_bad_image=on_bad_image)
    return Images(training=loaded[decode_size], evaluation=loaded[size])


def carry_out(network: keras.Model, plan: Plan, run: Run, manner: Manner, resume_from: Snapshot | None = None) -> Run:
    """Train ``network`` from the beginning or from where it was left, write the report, and record how it ended.

    The run is locked by the caller.
    """
    try:
        network, run, trained = _trained(network, plan, run, manner, resume_from)
        result = trained.result()
        has_time = not trained.at_once and trained.ending != "terminated"  # who sends SIGTERM may allow but seconds
        if trained.history and has_time:
            result["report"] = _report(network, plan, run, trained)
    except CnnRegistryError as error:
        with suppress(RunError):  # the disk may be full
            Run.open(run.path).finish("failed", {"error": str(error)})
        raise
    finally:
        if not manner.callbacks:  # which may keep the network
            backend.forget([*network.variables, *network.optimizer.variables])
    run = run.finish(trained.ending, result)
    if trained.ending in ENDED:
        run.checkpoints.remove()
    return run


def _trained(
    network: keras.Model, plan: Plan, run: Run, manner: Manner, resume_from: Snapshot | None
) -> tuple[keras.Model, Run, Trained]:
    """Train; where the loss is no number any more, go back and train on at a lower rate if that is wanted."""
    while True:
        try:
            return network, run, fit(network, plan.images, plan.split, run.record.lowered(), run, manner, resume_from)
        except DivergedError as error:
            if manner.on_nan != "rollback" or run.record.rollbacks == ROLLBACKS:
                raise
            backend.forget([*network.variables, *network.optimizer.variables])
            resume_from = run.checkpoints.latest()
            run = run.updated(rollbacks=run.record.rollbacks + 1)
            recipe, where = run.record.lowered(), f"step {resume_from.step}" if resume_from else "the beginning"
            note(f"{error} Going back to {where}, with half the learning rate: {recipe.optimizer.learning_rate:.3g}.")
            network = build_trainable(
                run.record.model,
                recipe,
                len(plan.split.train),
                class_names=run.record.data.class_names,
                pretrained=resume_from is None,
            )


def _report(network: keras.Model, plan: Plan, run: Run, trained: Trained) -> dict[str, Any]:
    """Evaluate the best weights on the validation images and write the report."""
    network = main_network(network)
    if plan.recipe.precision == "bfloat16":
        set_precision(network, "float32")  # in which the weights will be used
    with without_optimizer(network):
        load_exactly(network, run.best_weights, run.record.data.class_names)
    evaluation = evaluate_model(
        network,
        plan.images.evaluation,
        plan.split.val,
        pixels=plan.recipe.pixels,
        batch_size=plan.recipe.batch_size,
        part="validation images",
    )
    write_report(run, trained.history, evaluation)
    return {"weights": "best", "accuracy": evaluation.accuracy, "loss": evaluation.loss}


def _announce(plan: Plan, run: Run) -> None:
    height, width, _ = plan.record.model.input_shape
    data = plan.record.data
    precision = ", in bfloat16" if plan.recipe.precision == "bfloat16" else ""
    note(
        f"{plan.spec.name} on {data.name}: {len(plan.split.train)} training and {len(plan.split.val)} validation "
        f"images of {len(data.class_names)} classes at {height}x{width}, recipe {plan.recipe.name}{precision}, "
        f"{plan.recipe.epochs} epochs, into {run.path}"
    )


def _data_record(images: LoadedImages, dataset: str | None, data: str | Path | None) -> DataRecord:
    found = images.dataset
    return DataRecord(
        dataset=None if dataset is None and data is not None else found.name,
        name=as_text(found.name),
        source=as_text(found.source),
        given=None if data is None else as_text(str(Path(data).absolute())),
        digest=images.digest,
        class_names=list(found.class_names),
        left_out={bad.id: bad.reason for bad in images.bad},
    )


def _split_record(dataset: ImageDataset, split: Split, name: str | None) -> SplitRecord:
    def ids(indices: Indices) -> list[str]:
        return [dataset.ids[index] for index in indices]

    return SplitRecord(
        name=name or dataset.default_split or STRATIFIED,
        train=ids(split.train),
        val=ids(split.val),
        test=ids(split.test),
    )
