"""From a model, its input pipeline and a recipe to trained weights in a run directory."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cnn_registry import backend
from cnn_registry.data.dataset import Split
from cnn_registry.data.pipeline.batches import evaluation_batches, steps_per_epoch, training_batches
from cnn_registry.data.sources.cache import LoadedImages
from cnn_registry.errors import DivergedError, TrainingError, UsageError
from cnn_registry.networks.acceleration import accelerate, set_precision
from cnn_registry.networks.build import build_model, create_model
from cnn_registry.networks.freezing import freeze, rate_shares
from cnn_registry.networks.graph import main_network
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.runs.history import Epoch, best_epoch, has_stalled
from cnn_registry.runs.progress import Progress
from cnn_registry.runs.record import ModelRecord
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import Snapshot
from cnn_registry.runs.weights_file import save_weights
from cnn_registry.system.progress import note, shows_bars
from cnn_registry.text import one_line

from .optimizer import build_optimizer, warmup_steps
from .signals import StopRequest, stop_requests
from .state import Training

if TYPE_CHECKING:
    import keras

    from .callbacks.progress_bar import ProgressBar


class Images(NamedTuple):
    """The same images, decoded at the sizes that they are needed in.

    Attributes:
        training: training crops are cut from these.
        evaluation: those that the network sees in validation.
    """

    training: LoadedImages
    evaluation: LoadedImages


LONGEST_AVERAGE = 10
"""An average of weights forgets in at most one tenth of the training: the weights of its beginning are no good."""

Ending = Literal["finished", "stopped early", "interrupted", "terminated"]


OnNaN = Literal["stop", "rollback"]
"""What to do when the loss is no number: end, or go back to the latest checkpoint and halve the learning rate."""


@dataclass(frozen=True)
class Manner:
    """How a training is carried out, which changes nothing of what it ends with.

    Attributes:
        callbacks: Keras callbacks, called after the loop's own.
        tensorboard: also write TensorBoard logs into the run directory.
        checkpoint_minutes: from one checkpoint to the next inside an epoch; there is one at each epoch's end, too.
        keep_going: go on without checkpoints where they cannot be written.
        on_nan: see there.
    """

    callbacks: Sequence[keras.callbacks.Callback] = ()
    tensorboard: bool = False
    checkpoint_minutes: float = 10.0
    keep_going: bool = False
    on_nan: OnNaN = "stop"


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        ending: it ran all epochs, early stopping ended it, or it was asked to stop, by Ctrl-C or by SIGTERM.
        history: one row for each epoch that was completed.
        at_once: it was not even given the time to write where it stood.
    """

    ending: Ending
    history: tuple[Epoch, ...]
    at_once: bool = False

    def result(self) -> dict[str, Any]:
        """The figures of the last epoch and of the best one, for the run's record."""
        if not self.history:
            return {}
        return {"last": asdict(self.history[-1]), "best": asdict(best_epoch(self.history))}


def build_trainable(
    record: ModelRecord,
    recipe: Recipe,
    num_images: int,
    *,
    class_names: Sequence[str] | None = None,
    pretrained: bool = True,
) -> keras.Model:
    """The model of ``record`` with its auxiliary heads, and with the recipe's loss, optimizer and metrics.

    With ``pretrained`` false, weights that the recipe names are left out, as a checkpoint will bring others; of other
    weights the classifier is only kept for the same ``class_names``, as `build_model` says.
    Everything that creates variables is made here, in one place that a distribution strategy's scope can wrap.

    Raises:
        UsageError: the model has no such stage to freeze, no features for rates of their own, or other weights at
            one of the recipe's sizes.
        CnnRegistryError: as `create_model`.
    """
    from cnn_registry.networks.heads import with_aux_losses

    keras = backend.keras()
    keras.utils.set_random_seed(recipe.seed)
    options = record.options | ({"aux_heads": True} if record.aux_heads else {})
    tuning, spec = recipe.fine_tuning, get_spec(record.name)
    model = build_model(
        spec,
        num_classes=record.num_classes,
        input_shape=record.input_shape,
        weights=tuning.weights if pretrained else None,
        class_names=class_names,
        **options,
    )
    if recipe.train_sizes:
        _check_sizes(model, spec, record, recipe.train_sizes, options)
    if record.aux_heads:
        model = with_aux_losses(model, record.aux_heads)
    if recipe.train_sizes:
        model.input_spec = (
            None  # the graph's layers take other sizes; Keras would compare with the one it was built for
        )
    if tuning.freeze:
        freeze(model, spec, tuning.freeze)
    if recipe.precision == "bfloat16":
        built_for = record.input_shape[0]
        set_precision(model, recipe.precision, min((built_for, *recipe.train_sizes)) / built_for)
    accelerate(model)
    shares = rate_shares(model, spec, tuning.rate_decay) if tuning.rate_decay < 1 else ()
    optimizer = build_optimizer(recipe, steps_per_epoch(num_images, recipe.batch_size), shares)
    # Without variables at hand, `fit` traces the step once to create them and once more to use them.
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,  # XLA's convolutions are slower on a CPU than oneDNN's
    )
    return model


def _check_sizes(
    model: keras.Model, spec: ModelSpec, record: ModelRecord, sizes: Sequence[int], options: Mapping[str, Any]
) -> None:
    """Refuse sizes for which the network would have other weights than ``model``.

    Raises:
        UsageError: it has, as every network has that flattens its maps.
        InputShapeError: a size is too small for it.
    """

    def shapes(network: keras.Model) -> list[tuple[int, ...]]:
        return [tuple(weight.shape) for weight in network.weights]

    evaluated_at = record.input_shape[0]
    for size in set(sizes) - {evaluated_at}:
        with backend.keras().StatelessScope(initialize_variables=False):
            other = create_model(spec.name, num_classes=record.num_classes, input_shape=(size, size, 3), **options)
        if shapes(other) != shapes(model):
            raise UsageError(
                f"{spec.name} has other weights at {size} pixels than at {evaluated_at}, so it cannot go through "
                f"train_sizes; leave them out."
            )


def fit(
    model: keras.Model,
    images: Images,
    split: Split,
    recipe: Recipe,
    run: Run,
    manner: Manner,
    resume_from: Snapshot | None = None,
) -> Trained:
    """Train ``model`` on the split's training images and write history, checkpoints and weights into ``run``.

    The first Ctrl-C or SIGTERM ends it after the step, with a checkpoint; a second Ctrl-C at once.

    Args:
        model: of `build_trainable`.
        images: both decodings of the data set.
        split: which of them are for what.
        recipe: how to train.
        run: where everything is written.
        manner: how it is carried out; ``on_nan`` is the caller's.
        resume_from: the state to go on from; default from the beginning.

    Raises:
        TrainingError: the loss or a weight is no finite number any more, or a step failed.
        RunError: something cannot be written, or ``resume_from`` is of another training.
    """
    from .callbacks.endings import Diverged, Stopped

    if recipe.deterministic:
        backend.tensorflow().config.experimental.enable_op_determinism()
    progress = Progress(steps_per_epoch(len(split.train), recipe.batch_size))
    with _bar(recipe, progress) as bar, stop_requests() as request:
        training, own = _own_parts(model, len(split.train), recipe, run, progress, bar, manner, request, resume_from)
        ending: Ending = "finished"
        at_once = False
        try:
            _fit_epochs(training, images, split, recipe, [*own, *manner.callbacks])
        except Stopped:
            ending = "interrupted" if request.signal == signal.SIGINT else "terminated"
        except KeyboardInterrupt:
            ending, at_once = "interrupted", True
        except Diverged:
            raise DivergedError(_diverged(model, progress, recipe)) from None
        except (backend.tensorflow().errors.OpError, MemoryError) as error:
            raise TrainingError(_failed(error, progress, recipe)) from error
    if ending == "finished" and progress.epochs < recipe.epochs:
        ending = "stopped early"
    if not at_once:
        if training.average:
            training.average.swap_in()
        save_weights(main_network(model), run.last_weights, run.record.data.class_names)
    return Trained(ending, tuple(progress.history), at_once)


@contextmanager
def _bar(recipe: Recipe, progress: Progress) -> Iterator[ProgressBar | None]:
    """The bar of a terminal or a notebook."""
    from .callbacks.progress_bar import ProgressBar

    if not shows_bars():
        yield None
        return
    bar = ProgressBar(recipe.epochs, progress, recipe.batch_size)
    try:
        yield bar
    finally:
        bar.close()


def _own_parts(
    model: keras.Model,
    num_images: int,
    recipe: Recipe,
    run: Run,
    progress: Progress,
    bar: ProgressBar | None,
    manner: Manner,
    request: StopRequest,
    resume_from: Snapshot | None,
) -> tuple[Training, list[keras.callbacks.Callback]]:
    """The state of the training, taken up where it was left, and the callbacks that move it, in their order."""
    from .callbacks.averaging import WeightAverage
    from .callbacks.checkpoint import CheckpointCallback
    from .callbacks.early_stopping import StopEarly
    from .callbacks.recorder import Recorder

    average = None
    if recipe.ema:
        epochs = min(recipe.ema, recipe.epochs / LONGEST_AVERAGE)
        idle = 1 if warmup_steps(recipe.schedule, recipe.epochs, progress.steps_per_epoch) else 0  # its rate is zero
        average = WeightAverage(model, epochs * progress.steps_per_epoch, progress, idle)
    training = Training(model, progress, average)
    if resume_from:
        training.restore(resume_from)
    tell = bar.print if bar else note
    recorder = Recorder(
        run,
        progress,
        num_images,
        lambda epoch: tell(epoch.line(recipe.epochs, bar.width if bar else 80)),
    )
    stop_early = StopEarly(recipe.early_stopping, progress) if recipe.early_stopping else None
    logs = backend.keras().callbacks.TensorBoard(str(run.path / "tensorboard")) if manner.tensorboard else None
    checkpoints = CheckpointCallback(
        run, training, manner.checkpoint_minutes, request, keep_going=manner.keep_going, resume_from=resume_from
    )
    return training, [item for item in (recorder, average, bar, stop_early, logs, checkpoints) if item]


def _fit_epochs(
    training: Training, images: Images, split: Split, recipe: Recipe, callbacks: Sequence[keras.callbacks.Callback]
) -> None:
    """All epochs that are left, the first of them from where it was left."""
    progress = training.progress
    validation = evaluation_batches(images.evaluation, split.val, batch_size=recipe.batch_size, pixels=recipe.pixels)
    while progress.epochs < recipe.epochs and not _is_over(recipe, progress):
        training.model.fit(
            training_batches(
                images.training,
                split.train,
                batch_size=recipe.batch_size,
                epochs=recipe.epochs,
                seed=recipe.seed,
                augmentation=recipe.augmentation,
                mixing=recipe.mixing,
                pixels=recipe.pixels,
                sizes=recipe.train_sizes or (images.evaluation.source.size,),
                first_step=progress.step,
            ),
            initial_epoch=progress.epochs,
            # Keras counts an epoch's steps from its beginning, so what is left of one is an epoch of its own.
            epochs=progress.epochs + 1 if progress.batch else recipe.epochs,
            steps_per_epoch=progress.steps_per_epoch - progress.batch,
            validation_data=validation,
            callbacks=list(callbacks),
            shuffle=False,  # the pipeline has chosen the order
            verbose=0,
        )
        if training.model.stop_training:  # by early stopping, or by a callback of the user
            return


def _is_over(recipe: Recipe, progress: Progress) -> bool:
    stopping = recipe.early_stopping
    return stopping is not None and has_stalled(progress.history, stopping.patience, stopping.min_delta)


def _diverged(model: keras.Model, progress: Progress, recipe: Recipe) -> str:
    rate = float(backend.keras().ops.convert_to_numpy(model.optimizer.learning_rate))
    lower = recipe.optimizer.learning_rate / 3
    return (
        f"The loss or a weight was no finite number in epoch {progress.epochs + 1}, step {progress.step} "
        f"(learning rate {rate:.2g}). Try --set optimizer.learning_rate={lower:.1g} or --set optimizer.clipnorm=5, "
        f"or --on-nan rollback."
    )


def _failed(error: Exception, progress: Progress, recipe: Recipe) -> str:
    """One line for an error of TensorFlow's, which may quote a traceback of the pipeline's."""
    where = f"Training failed after step {progress.step} (epoch {progress.epochs + 1})"
    if isinstance(error, MemoryError | backend.tensorflow().errors.ResourceExhaustedError):
        return f"{where}: out of memory. Try --set batch_size={max(recipe.batch_size // 2, 1)} or a smaller image_size."
    cause = re.search(r"^(?:\{\{.*?\}\} )?(\w+(?:Error|Exception): .+)$", str(error), re.MULTILINE)
    return f"{where}: {cause[1] if cause else one_line(error)}"
