"""From names to a finished run: what ``cnnreg train`` and `cnn_registry.train` do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.keras_internals import has_graph, without_optimizer
from cnn_registry.backend.strategy import Distribute, Distribution
from cnn_registry.backend.strategy import distribution as join_workers
from cnn_registry.data.manifest import Manifest
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.errors import ClusterError, CnnRegistryError, DivergedError, RunError, UsageError, reason_of
from cnn_registry.explain.grad_cam import GradCam, layer_of
from cnn_registry.inference.evaluate import evaluate_model
from cnn_registry.inference.halves import halves_at
from cnn_registry.networks.graph import main_network
from cnn_registry.networks.precision import set_precision
from cnn_registry.networks.weights.keras_file import load_exactly
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec
from cnn_registry.report.facts import data_facts
from cnn_registry.report.summary import summarise
from cnn_registry.report.write import recorded_report, write_report, write_run_page
from cnn_registry.runs.contents import remove_contents
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.record import ENDED, ROLLBACKS, RunRecord, Status, hashes_of
from cnn_registry.runs.run import Run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.callers import warned_once
from cnn_registry.system.progress import muted, note, repeated, working
from cnn_registry.text import one_line, shell_path
from cnn_registry.tracking.trackers import Trackers
from cnn_registry.training.fit import Fit
from cnn_registry.training.options import OnNaN, RunOptions
from cnn_registry.training.recipe_callbacks import without_state
from cnn_registry.training.signals import StopRequest, stop_requests

from .options import check_callbacks, new_options, options_record
from .plan import Plan, Request, check_request, plan_training
from .workers import check_same, created, fitting

if TYPE_CHECKING:
    import keras


@checked_arguments
def train(
    model: str,
    *,
    dataset: str | None = None,
    data: str | Path | Manifest | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    split: str | None = None,
    out: str | Path = "runs",
    on_bad_image: OnBadImage = "skip",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    track: str | Sequence[str] = (),
    tensorboard: bool = False,
    checkpoint_minutes: float = 10.0,
    keep_going: bool = False,
    on_nan: OnNaN = "stop",
    max_pixels: int | None = None,
    time_limit: str | None = None,
    report: bool = True,
    distribute: Distribute = "auto",
) -> Run:
    """Train a model and leave a run directory with weights, history, report and pictures.

    The generators of Python, NumPy and Keras are seeded with the recipe's seed meanwhile.

    Args:
        model: a model's name, as for `create_model`.
        dataset: a dataset's name; default the default dataset, or ``data``.
        data: a folder of class folders, a table that names images, or a `Manifest`, which says what the columns of such
            a table are called; with ``dataset``, where that dataset's archive or images are.
        recipe: a recipe's name, a TOML file, a run directory for the recipe of that run, or a `Recipe`; default what
            the model's spec names, or ``"fine_tune"`` where the settings name weights.
        settings: dotted settings that replace the recipe's, for instance ``{"optimizer.learning_rate": 0.01}``.
        split: ``"stratified"``, ``"tuning"`` (see `make_split`), or one that the dataset brings; default its own if
            it has one, else stratified.
        out: where the new run directory is made.
        on_bad_image: ``"skip"`` to leave unreadable images out with a warning, ``"error"`` to stop.
        callbacks: Keras callbacks, called after the loop's own and those of the recipe. They are objects, which a run
            cannot record; those of the recipe's setting ``callbacks`` are recorded, and made again where a run is
            resumed. One with the methods ``get_state()``, which returns what JSON can express, and ``set_state(state)``
            continues where it was.
        track: ``"tensorboard"``, ``"mlflow"``, ``"wandb"``, or several of them, which get the settings, the curves, the
            result and the best weights. A resumed run continues in the same run of theirs. One that fails meanwhile,
            for instance because its server is gone, is left out, and a line says so.
        tensorboard: the same as ``track="tensorboard"``.
        checkpoint_minutes: minutes between checkpoints within an epoch; one is also written after each epoch.
        keep_going: train on without checkpoints where they cannot be written.
        on_nan: ``"stop"`` when the loss becomes NaN or infinite, or ``"rollback"``: go back to the latest checkpoint
            and halve the learning rate, three times at most.
        max_pixels: the largest image that is read, width times height; default Pillow's limit of 89 million, as a
            larger one may be a decompression bomb.
        time_limit: short for the setting of that name: ``"90s"``, ``"30m"``, ``"2h"``. The training ends in time with
            its report, with its schedule laid over the time.
        report: write the report at the end; ``cnnreg report RUN`` does so later.
        distribute: ``"mirrored"`` trains on all GPUs of this machine; ``"multiworker"`` together with the other
            processes that ``TF_CONFIG`` or a SLURM step names, each of which calls this with the same arguments;
            ``"none"`` alone; ``"auto"`` by what is there. The batches are the same in each case, and one process, the
            chief, writes the run.

    Returns:
        The finished run; in a worker that is not the chief, what it knows of it. Its status is ``"interrupted"`` after
        Ctrl-C and ``"terminated"`` after SIGTERM or SIGHUP; `resume` continues it.

    Raises:
        CnnRegistryError: one of its kinds, with a message that says what to do. What is wrong with the request or
            with the data is found before anything is written.
    """
    options = new_options(callbacks, track, tensorboard, checkpoint_minutes, keep_going, on_nan, report)
    backend.require_tensorflow()
    settings = with_limit(settings, time_limit)
    request = Request(get_spec(model), dataset, data, recipe, settings, split, on_bad_image, max_pixels)
    return train_new(request, options, Path(out), distribute)


@working("Training")
def train_new(
    request: Request, options: RunOptions, out: Path, distribute: Distribute, *, keep_images: bool = True
) -> Run:
    """Train what is asked for in a new run directory.

    Args:
        request: what is trained.
        options: how it is carried out.
        out: where the new run directory is made.
        distribute: as for `train`.
        keep_images: whether decoded images are kept in the cache.
    """
    with _prepared(request, options, distribute, keep_images=keep_images) as (plan, fit):
        kept = options_record(options, request.on_bad_image, request.max_pixels)
        record = plan.record(kept, fit.fingerprint)
        findings = plan.findings()
        with stop_requests() as stop:  # from here on there is a record, which says how the training ended
            run = created(fit.distribution, out, record)
            with run.locked():
                note(f"{plan.line()}{fit.distribution.line()}, into {run.path}")
                with repeated():
                    for finding in findings:
                        note(finding)
                    note_forgetful(fit)
                    note_slow(plan.recipe)
                return carry_out(fit, plan, run, options, stop)


def dry_run(request: Request, options: RunOptions, distribute: Distribute) -> Plan | None:
    """What `train_new` would train; whatever it refuses before it writes is refused here as well.

    Returns:
        The plan; ``None`` in a worker that is not the chief.
    """
    with _prepared(request, options, distribute, keep_images=False) as (plan, fit):
        is_chief = fit.distribution.is_chief
        fit.forget()
    return plan if is_chief else None


@contextmanager
def _prepared(
    request: Request, options: RunOptions, distribute: Distribute, *, keep_images: bool
) -> Iterator[tuple[Plan, Fit]]:
    """What is asked for as a plan and as a network that can be trained; the process is as training needs it meanwhile.

    Raises:
        CnnRegistryError: as `train`; everything that is refused before something is written.
    """
    with warned_once():
        check_request(request)
        distribution = join_workers(distribute)
        with muted(not distribution.is_chief), backend.process_kept():
            plan = plan_training(request, keep=keep_images)
            check_callbacks(options, plan.recipe)
            with backend.deterministic(plan.recipe.deterministic):
                with working(f"Building {plan.spec.name}", after=1.0):
                    together = fitting(distribution, plan)
                    fit = Fit(plan.spec, plan.form, plan.recipe, plan.images, plan.split, distribution=together)
                check_same(distribution, plan, fit)
                yield as_computed(plan, fit.model), fit


def with_limit(settings: Mapping[str, Any] | None, time_limit: str | None) -> Mapping[str, Any] | None:
    """The settings with the limit that is an argument of its own."""
    return settings if time_limit is None else {**(settings or {}), "time_limit": time_limit}


def as_computed(plan: Plan, model: keras.Model) -> Plan:
    """The plan with the precision that the network computes in: float32 where `set_precision` leaves it as it is."""
    if has_graph(model):
        return plan
    recipe = plan.recipe.model_copy(update={"precision": "float32"})
    return replace(plan, resolved=replace(plan.resolved, recipe=recipe))


def note_forgetful(fit: Fit) -> None:
    """Name the callbacks of the recipe that cannot be resumed where they were."""
    if listed := without_state(fit.callbacks):
        note(
            f"What {', '.join(listed)} may keep is not in checkpoints: it has no get_state and set_state, so a resumed "
            f"training makes a new one."
        )


def note_slow(recipe: Recipe) -> None:
    """Say that a precision is imitated: with AVX2 alone, a step in bfloat16 takes eight times as long as in float32."""
    if recipe.precision == "bfloat16" and backend.imitates_bfloat16():
        note(
            "TensorFlow computes bfloat16 without instructions of this processor for it, so steps take several times "
            "as long as in float32. --set precision=auto chooses what is fastest."
        )


def carry_out(
    fit: Fit, plan: Plan, run: Run, options: RunOptions, request: StopRequest, before: RunRecord | None = None
) -> Run:
    """Train from the beginning or from where ``fit`` was restored to, report, and record how it ended.

    The run is locked by the caller.

    Args:
        fit: built, and restored where a run is resumed.
        plan: what is trained.
        run: where everything is written.
        options: how it is carried out.
        request: whether to stop. The signals are given back when the ending is recorded, before the report.
        before: the record before the run was resumed. Where not a single step is done, it is put back.
    """
    first_step = fit.progress.step
    trackers = Trackers(options.track if run.writes else ())
    try:
        run = trackers.begin(run, fit.progress.history)
        while True:
            try:
                trained = fit.train(run, options, request, trackers.epoch)
                break
            except DivergedError as error:
                if options.on_nan != "rollback" or run.record.rollbacks == ROLLBACKS:
                    raise
                fit.forget()
                before_it = fit.clock.before if fit.clock else 0.0
                fit, run = _rolled_back(plan, run, error, fit.distribution)
                if fit.clock:
                    fit.clock.before = before_it  # the time of this process is counted from its beginning
        run = run.finish(trained.ending, trained.result())
        run = _with_images_found(plan, run)
        if run.writes and trained.ending in ENDED:
            run.checkpoints.remove()
            remove_contents(run)
        if trained.ended_by:
            note(f"Training was ended by {trained.ended_by}.")
        request.release()
        has_time = not trained.at_once and trained.ending != "terminated"  # who sends SIGTERM may allow but seconds
        if run.writes and has_time and options.report and trained.history:
            run = _reported(fit, plan, run, trained.history)
        trackers.end(run, in_haste=not has_time)
        if not trained.at_once:
            fit.distribution.barrier()  # a worker that ends before the chief would be taken for lost
        return run
    except BaseException as error:
        if not run.writes:
            pass
        elif before and fit.progress.step == first_step:
            with suppress(RunError):
                Run(run.path, before).save()
                if before.status in ENDED:
                    run.checkpoints.remove()
        else:
            _record_failure(fit, plan, run, error)
        with suppress(Exception):
            trackers.end(Run.open(run.path), in_haste=isinstance(error, KeyboardInterrupt | ClusterError))
        raise
    finally:
        if not options.callbacks:  # which may keep the network
            fit.forget()


def _with_images_found(plan: Plan, run: Run) -> Run:
    """The run with what has been found out about images that were read while they were trained on."""
    images = plan.images.evaluation
    if not run.writes or not (images.is_of_names or len(images.unreadable)):
        return run
    data, split = run.record.data, run.record.split
    data = data.model_copy(update={"replaced": data.replaced | images.unreadable.by_id()})
    if images.is_of_names and run.record.status in ENDED:
        data = data.model_copy(update={"digest": images.digest_of_content(data.left_out)})
        trained = hashes_of(images.hashes, images.unreadable.readable(plan.split.train))
        split = split.model_copy(update={"trained": trained})
    return run.updated(data=data, split=split)


def _rolled_back(plan: Plan, run: Run, error: DivergedError, distribution: Distribution) -> tuple[Fit, Run]:
    """The training at its latest checkpoint, or at the beginning, with half the learning rate."""
    run = Run.open(run.path) if run.writes else run  # its callbacks have recorded unreadable images meanwhile
    run = run.updated(rollbacks=run.record.rollbacks + 1)
    recipe = run.record.lowered()
    fit = Fit(
        plan.spec,
        plan.form,
        recipe,
        plan.images,
        plan.split,
        pretrained=not run.checkpoints.exist,
        distribution=distribution,
    )
    where = f"step {snapshot.step}" if (snapshot := fit.restore(run)) else "the beginning"
    note(f"{error} Going back to {where}, with half the learning rate: {recipe.optimizer.learning_rate:.3g}.")
    return fit, run


def _record_failure(fit: Fit, plan: Plan, run: Run, error: BaseException) -> None:
    """Leave a true state: how it ended and why, the last good weights, and a report of what was done."""
    ending: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    reason = str(error) if isinstance(error, CnnRegistryError) else one_line(error)
    trained = fit.trained("interrupted")
    with suppress(Exception):  # the disk or the memory may be full, which is why it failed
        run = Run.open(run.path).finish(ending, trained.result() | {"error": reason})
    if trained.history and not isinstance(error, ClusterError):  # which is to be resumed, and soon
        with suppress(Exception):
            fit.save_last(run)
        if run.best_weights.is_file():
            with suppress(Exception):
                _reported(fit, plan, run, trained.history)


def _reported(fit: Fit, plan: Plan, run: Run, history: Sequence[Epoch]) -> Run:
    """The run with its report. One that cannot be written is a note: what was trained is there."""
    try:
        summary = _report(fit, plan, run, history)
    except (Exception, KeyboardInterrupt) as error:
        reason = reason_of(error)
        note(f"The report of {run.path} could not be completed: {reason}. Its weights and history are there.")
        summary = {"error": reason}
    try:
        return run.updated(result=run.record.result | {"report": summary})
    except RunError as error:
        note(f"{error}")
        return run


def _report(fit: Fit, plan: Plan, run: Run, history: Sequence[Epoch]) -> dict[str, Any]:
    """Evaluate the best weights on the validation images and write the report."""
    network = main_network(fit.model)
    with working("Loading the best weights", after=1.0), without_optimizer(network):
        if plan.recipe.precision != "float32":
            set_precision(network, "float32")  # in which the weights will be used
        if not fit.holds_best:
            load_exactly(network, run.best_weights, run.record.data.class_names)
    halves = None
    with suppress(UsageError):  # it has no maps
        halves = halves_at(network, layer_of(network, plan.spec.features, None))
    evaluation = evaluate_model(
        network,
        plan.images.evaluation,
        plan.split.val,
        pixels=plan.recipe.pixels,
        batch_size=plan.recipe.batch_size,
        part="validation images",
        traced=halves,
    )
    remarks = evaluation.remarks()
    for remark in remarks:
        note(remark)
    images, part = plan.images.evaluation, plan.split
    with working("Drawing the plots", after=1.0):
        facts = data_facts(images.dataset, part, images.source.form)
        validated = images.unreadable.readable(part.val)
        summary = summarise(evaluation, hashes_of(images.hashes, validated), facts, [*remarks, *plan.findings()])
        write_report(run, history, summary)

    def cam() -> GradCam:
        return GradCam(network, layer_of(network, plan.spec.features, None), plan.recipe.pixels, halves)

    try:
        write_run_page(run, history, summary, images.dataset, cam)
    except Exception as error:
        reason = reason_of(error)
        helps = f"Make it with: cnnreg report {shell_path(run.path)}"
        note(f"The page of {run.path} could not be written: {reason}. {helps}")
    return recorded_report(evaluation, remarks)
