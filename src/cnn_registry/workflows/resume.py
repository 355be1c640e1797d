"""Resume a training that was stopped, so that it ends as if it had not been."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.strategy import Distribute, Distribution
from cnn_registry.backend.strategy import distribution as join_workers
from cnn_registry.data.dataset import Split
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.manifest import Manifest, as_source, columns_of, path_of, weights_digest
from cnn_registry.data.pipeline.steps import check_steps, configurations
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.data.split import positions, split_name
from cnn_registry.errors import CnnRegistryError, RunError, UsageError
from cnn_registry.inference.evaluate import source_of
from cnn_registry.inference.model import changed_network, spec_of
from cnn_registry.recipes.resolution import Layer, Resolved, leaves
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import find_model
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.runs.contents import changed_contents
from cnn_registry.runs.history import WATCHED, Epoch, has_stalled, read_history
from cnn_registry.runs.machine import training_process, versions
from cnn_registry.runs.record import ENDED, DataRecord, OptionsRecord, Resumption, RunRecord, SplitRecord
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import Snapshot
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.hub import hub_address
from cnn_registry.system.progress import muted, note, repeated, working
from cnn_registry.text import as_text, counted, listing, shell_path, unstopped
from cnn_registry.training.fit import Fit, Images
from cnn_registry.training.network import check_parts
from cnn_registry.training.options import OnNaN, RunOptions
from cnn_registry.training.signals import stop_requests

from .foreign import refuse_foreign_code
from .options import check_callbacks, check_run_options, chosen_trackers, listed_callbacks, options_record
from .plan import Plan, check_for_labels, chosen_recipe, dataset_of, decoded, settled, with_precision
from .train import as_computed, carry_out, note_slow
from .workers import check_same, fitting, opened

if TYPE_CHECKING:
    import keras


@checked_arguments
@working("Training")
def resume(
    path: str | Path,
    *,
    data: str | Path | Manifest | None = None,
    settings: Mapping[str, Any] | None = None,
    force: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    track: str | Sequence[str] | None = None,
    tensorboard: bool | None = None,
    checkpoint_minutes: float | None = None,
    keep_going: bool | None = None,
    on_nan: OnNaN | None = None,
    on_bad_image: OnBadImage | None = None,
    max_pixels: int | None = None,
    report: bool = True,
    distribute: Distribute = "auto",
) -> Run:
    """Resume a training from its latest checkpoint, or train a finished run on.

    A run with a time limit has what is left of it: the time up to the checkpoint counts, the time in between does not.

    A finished run has no checkpoint. With more ``epochs`` in the settings it is trained on from its last weights: the
    optimizer starts without momentum, and the learning rate follows the schedule of all epochs together.

    With the recipe's ``deterministic`` on, weights, optimizer, history, best weights and the decision of early stopping
    end up equal, bit for bit, to those of a training that was not stopped, on the same machine. The state of callbacks
    of your own is yours to keep.

    Args:
        path: the run directory.
        data: where the images are now, if they were moved; their digest must be the run's.
        settings: dotted settings to change; needs ``force``.
        force: resume although something is no longer as it was.
        callbacks: as for `train`.
        track, tensorboard, checkpoint_minutes, keep_going, on_nan, on_bad_image, max_pixels: as for `train`; default as
            when the run began.
        report: as for `train`.
        distribute: as for `train`; it need not be as when the run began. A training is continued bit for bit by as
            many replicas as before. The chief alone needs the run directory.

    Returns:
        The run, as `train` returns it.

    Raises:
        UsageError: the path is the address of a run on the hub, which has no checkpoints.
        RunError: there is no such run, it has ended, another process is training it, or something is no longer as it
            was (recipe, images, network, versions of the model's package or of a library) and ``force`` is false.
            The run is as it was before then.
        CnnRegistryError: as `train`.
    """
    began = time.monotonic()
    if address := hub_address(path):
        raise UsageError(f"{address} has no checkpoints to resume; train from its weights with --weights {address}.")
    backend.require_tensorflow()
    distribution = join_workers(distribute)
    with muted(not distribution.is_chief), opened(distribution, Path(path)) as run:
        recorded = run.record.options
        options = RunOptions(
            listed_callbacks(callbacks),
            chosen_trackers(track, tensorboard, recorded.track),
            recorded.checkpoint_minutes if checkpoint_minutes is None else checkpoint_minutes,
            recorded.keep_going if keep_going is None else keep_going,
            recorded.on_nan if on_nan is None else on_nan,
            report,
            began,
        )
        check_run_options(options)
        record = options_record(
            options, on_bad_image or recorded.on_bad_image, recorded.max_pixels if max_pixels is None else max_pixels
        )
        _refuse_finished(run, settings or {})
        with backend.process_kept():
            plan, changed = plan_resumption(run, data, settings or {}, record)
            _refuse_changed(run, changed, force=force)
            check_callbacks(options, plan.recipe)
            with backend.deterministic(plan.recipe.deterministic):
                return _resumed(run, plan, changed, options, record, distribution, force=force)


@repeated()
def plan_resumption(
    run: Run, data: str | Path | Manifest | None, settings: Mapping[str, Any], options: OptionsRecord
) -> tuple[Plan, list[str]]:
    """What is trained when ``run`` is resumed, and what is no longer as it was, each in a few words.

    Raises:
        CnnRegistryError: the model or the images are not there any more.
    """
    record, spec = run.record, spec_of(run)
    resolved = Resolved(record.recipe, dict.fromkeys(dict(leaves(record.recipe.to_dict())), f"run {run.path.name}"))
    if settings:
        resolved = resolved.with_layer(Layer("--set", settings, own=True))
        _refuse_fixed(record.recipe, resolved.recipe)
    if "precision" in settings:
        resolved = with_precision(resolved)
    recipe = resolved.recipe
    refuse_foreign_code(recipe, f"The run {run.path}", _recorded(recipe, settings))
    check_parts(recipe)
    check_steps(recipe.augmentation.steps, record.model.input_shape)
    source = source_of(run, data)
    loaded = load_dataset(record.data.dataset, source)
    check_for_labels(recipe, loaded)
    images = decoded(
        loaded,
        recipe,
        record.model.input_shape,
        options.on_bad_image,
        options.max_pixels,
        streamed=record.data.is_streamed,
    )
    images.evaluation.unreadable.recall(record.data.replaced)
    changed = [*_changes(record, recipe, spec), *_changed_images(run, images)]
    plan = Plan(
        spec,
        record.model.model_copy(update={"spec": spec.to_dict()}),
        resolved,
        images,
        _split(images, record.split),
        record.data if data is None else _moved(record.data, images, source),
        record.split,
    )
    return plan, changed


def _moved(record: DataRecord, images: Images, source: Path | Manifest | None) -> DataRecord:
    """The record of images that are somewhere else now."""
    assert source is not None
    places = {"given": as_text(str(path_of(source).absolute())), "source": as_text(images.evaluation.dataset.source)}
    return record.model_copy(update=places | {"columns": columns_of(source)})


def _recorded(recipe: Recipe, settings: Mapping[str, Any]) -> set[str]:
    """The settings that are those of the record, by dotted key."""
    given = dict(leaves(settings))
    return {key for key, _ in leaves(recipe.to_dict()) if key not in given and key.partition(".")[0] not in given}


FREE_AT_THE_END = ("epochs", "early_stopping", "optimizer", "schedule", "time_limit")
"""Settings, and tables of settings, that may change where a finished run is trained on."""


def _refuse_finished(run: Run, settings: Mapping[str, Any]) -> None:
    """Refuse a finished run, unless the settings have more epochs than it has.

    Raises:
        RunError: there is nothing to do.
    """
    record, epochs = run.record, settings.get("epochs", 0)
    done = int(record.result.get("last", {}).get("epoch", record.recipe.epochs))
    if record.status in ENDED and not (isinstance(epochs, int) and epochs > done):
        raise RunError(
            f"{run.path} has already finished; there is nothing to resume. To train it on, ask for more epochs: "
            f"cnnreg train --resume {shell_path(run.path)} --epochs {2 * record.recipe.epochs}"
        )


def _refuse_changed(run: Run, changed: Sequence[str], *, force: bool) -> None:
    """Refuse to resume what is no longer as it was, unless that is forced.

    Raises:
        RunError: something has changed.
    """
    if changed and not force:
        raise RunError(
            f"{run.path} cannot be resumed exactly: {'; '.join(changed)}. Use --force to resume anyway; the result "
            f"will differ."
        )


FIXED = ("batch_size", "best_by", "image_size", "channels", "split_seed", "fine_tuning.weights", "photos", "model")
"""Settings, and tables of settings, that the steps or the weights of a checkpoint depend on."""


def _refuse_fixed(before: Recipe, now: Recipe) -> None:
    """Refuse other values of settings that a training cannot change in its middle, with --force either.

    Raises:
        RunError: there is one.
    """
    old, new = (dict(leaves(recipe.to_dict())) for recipe in (before, now))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED):
            raise RunError(
                f"{key} cannot be changed in the middle of a training (was {old.get(key)}, asked {new.get(key)}): its "
                f"steps and weights depend on it. Start a new training."
            )


def _refuse_stalled(run: Run, recipe: Recipe, history: Sequence[Epoch]) -> None:
    """Refuse to train a finished run on where early stopping would end it at once.

    Raises:
        RunError: it would.
    """
    stopping = recipe.early_stopping
    if history and stopping and has_stalled(history, stopping.patience, stopping.min_delta, recipe.best_by):
        raise RunError(
            f"{run.path} would stop at once: its {WATCHED[recipe.best_by]} has not improved for "
            f"{counted(stopping.patience, 'epoch')}. Wait for longer with --set "
            f"early_stopping.patience={2 * len(history)}, or use --set early_stopping=none."
        )


def _resumed(
    run: Run,
    plan: Plan,
    changed: list[str],
    options: RunOptions,
    record: OptionsRecord,
    distribution: Distribution,
    *,
    force: bool,
) -> Run:
    """The run, trained to its end. Its record changes once everything is built and restored."""
    before = run.record
    trains_on = before.status in ENDED
    rows = distribution.broadcast_from_chief(
        lambda: [row.to_dict() for row in read_history(run.history_csv)] if trains_on else []
    )
    history = [Epoch(**row) for row in rows]
    _refuse_stalled(run, plan.recipe, history)
    if run.writes:
        run.checkpoints.sweep()
    with working(f"Building {plan.spec.name}", after=1.0):
        fit = Fit(
            plan.spec,
            plan.form,
            before.lowered_from(plan.recipe),
            plan.images,
            plan.split,
            pretrained=not run.checkpoints.exist and not trains_on,
            distribution=fitting(distribution, plan),
        )
    plan = as_computed(plan, fit.model)
    check_same(distribution, plan, fit)
    if fault := changed_network(run, plan.spec, fit.fingerprint):
        if not force:
            raise RunError(f"{fault}, or use --force to resume anyway; the result will differ.")
        changed = [*changed, f"the network of {plan.spec.name} is another one"]
    snapshot = None if trains_on else _restored(fit, run, plan)
    if trains_on:
        fit.train_on(run.last_weights, history, before.data.class_names)
        _keep(fit, run, options)
    step = fit.progress.step
    resumption = Resumption(at=datetime.now(UTC).isoformat(timespec="seconds"), step=step, changed=changed)
    with stop_requests() as request:
        run = run.updated(
            status="running",
            model=plan.form.model_copy(update={"fingerprint": fit.fingerprint}),
            recipe=plan.recipe,
            data=plan.data,
            versions=versions(),
            process=training_process(),
            options=record,
            resumed=[*before.resumed, resumption],
            result={},
        )
        if trains_on:
            note(
                f"{run.path} is trained on from its last weights, for {counted(plan.recipe.epochs, 'epoch')} in total: "
                f"without momentum at first, and at the learning rate that the schedule {plan.recipe.schedule.name!r} "
                f"has there."
            )
        elif not snapshot:
            note(f"{run.path} has no checkpoint; its training starts again.")
        note(f"{plan.spec.name} on {plan.data.name} resumes in {run.path} after {counted(step, 'step')}")
        note_slow(plan.recipe)
        return carry_out(fit, plan, run, options, request, before)


KEPT = ("accumulate", "callbacks", "ema", "optimizer", "precision")
"""Settings, and tables of settings, that decide what a checkpoint holds."""


def _restored(fit: Fit, run: Run, plan: Plan) -> Snapshot | None:
    """The latest checkpoint of ``run``, whose state ``fit`` has now.

    Raises:
        RunError: it belongs to another training, or to other settings.
    """
    try:
        return fit.restore(run)
    except RunError as error:
        before, now = (dict(leaves(recipe.to_dict())) for recipe in (run.record.recipe, plan.recipe))
        changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        causes = [f"{key}={now.get(key)} (was {before.get(key)})" for key in changed if key.partition(".")[0] in KEPT]
        if not causes:
            raise
        raise RunError(
            f"{run.path} cannot be resumed with {', '.join(causes)}: {unstopped(str(error))}. Leave the setting out, "
            f"or start a new training."
        ) from error


def _keep(fit: Fit, run: Run, options: RunOptions) -> None:
    """Write a checkpoint of a finished run before it is trained on: without one it would be resumed from nothing.

    Raises:
        RunError: it cannot be written, and the options do not allow to continue without checkpoints.
    """
    try:
        if run.writes:
            run.checkpoints.save(fit.state.view())
    except RunError as error:
        if not options.keep_going:
            raise
        note(f"{error} If this training is interrupted, it starts from the beginning.")


def unfinished(
    model: str,
    *,
    dataset: str | None = None,
    data: str | Path | Manifest | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    split: str | None = None,
    out: str | Path = "runs",
) -> Path | None:
    """The newest run in ``out`` that has not ended and began with these arguments, which are those of `train`.

    Where these leave the precision to the machine, it is the one that the run began with.
    """
    spec = find_model(model)
    if not isinstance(spec, ModelSpec):
        return None  # what is wrong with it is reported where it is trained
    wanted = chosen_recipe(spec, recipe, settings or {})
    loaded = load_dataset(dataset, as_source(data))
    chosen = settled(wanted, spec, loaded).recipe
    given = None if data is None else str(path_of(data).absolute())
    named = dataset_of(loaded, dataset, data)
    free = {"precision": chosen.precision} if wanted.recipe.precision == "auto" else {}

    def is_same(record: RunRecord) -> bool:
        return (
            find_model(record.model.name) == spec
            and record.recipe.model_copy(update=free) == chosen
            and record.data.given == given
            and record.data.columns == columns_of(data)
            and record.data.dataset == named
            and record.split.name == split_name(loaded, split)
        )

    found = [run for run in _runs(Path(out)) if run.record.status not in ENDED and is_same(run.record)]
    return max(found, key=lambda run: run.record.created).path if found else None


def _runs(out: Path) -> Iterator[Run]:
    """The runs in a directory that can be read, and whose models are installed."""
    for path in sorted(out.glob("*/run.json")):
        try:
            run = Run.open(path.parent)
            find_model(run.record.model.name)
        except CnnRegistryError:
            continue
        yield run


def _changes(record: RunRecord, recipe: Recipe, spec: ModelSpec) -> Iterator[str]:
    """What differs from when the run began, each in a few words."""
    provider = record.model.spec["provider"]
    before = dict(leaves(record.recipe.to_dict())) | record.versions
    now = dict(leaves(recipe.to_dict())) | versions()
    if not record.model.fingerprint:  # with one, the network itself is compared
        before[str(provider["distribution"])] = provider["version"]
        now[str(provider["distribution"])] = spec.provider.version
    steps = configurations(recipe.augmentation.steps)
    before |= {f"augmentation step {name}": config for name, config in record.steps.items() if name in steps}
    now |= {f"augmentation step {name}": config for name, config in steps.items() if name in record.steps}
    free = FREE_AT_THE_END if record.status in ENDED else ()
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name) and name.partition(".")[0] not in free:
            yield f"{name} was {before.get(name)}, is {now.get(name)}"


def _changed_images(run: Run, images: Images) -> Iterator[str]:
    record = run.record
    if not images.evaluation.are_of(record.data.digest, record.data.unused):
        yield f"the images at {as_text(images.evaluation.dataset.source)} or their classes have changed"
    elif changed := changed_contents(run, images.evaluation):
        yield f"{counted(len(changed), 'image')} have changed: {listing(changed, 3)}"
    if weights_digest(images.evaluation.dataset) != record.data.weights:
        yield f"the weights of the images at {as_text(images.evaluation.dataset.source)} have changed"


def _split(images: Images, recorded: SplitRecord) -> Split:
    dataset = images.evaluation.dataset
    return Split(*(positions(dataset, ids) for ids in (recorded.train, recorded.val, recorded.test)))
