"""From a model, its input pipeline and a recipe to trained weights in a run directory."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cnn_registry import backend
from cnn_registry.data.cache import LoadedImages
from cnn_registry.data.dataset import Split
from cnn_registry.data.pipeline import evaluation_batches, steps_per_epoch, training_batches
from cnn_registry.errors import TrainingError, UsageError
from cnn_registry.graph import main_network
from cnn_registry.progress import note
from cnn_registry.registry import create_model, get_spec
from cnn_registry.spec import ModelSpec

from .checkpoint import save_weights
from .fine_tuning import freeze, rate_shares
from .history import Epoch, best_epoch
from .optimizer import build_optimizer
from .recipe import Recipe
from .run import ModelRecord, Run

if TYPE_CHECKING:
    import keras


class Images(NamedTuple):
    """The same images, decoded at the sizes that they are needed in.

    Attributes:
        training: training crops are cut from these.
        evaluation: those that the network sees in validation.
    """

    training: LoadedImages
    evaluation: LoadedImages


Ending = Literal["finished", "stopped early", "interrupted"]


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        ending: it ran all epochs, early stopping ended it, or the user did.
        history: one row for each epoch that was completed.
    """

    ending: Ending
    history: tuple[Epoch, ...]

    def result(self) -> dict[str, Any]:
        """The figures of the last epoch and of the best one, for the run's record."""
        if not self.history:
            return {}
        return {"last": asdict(self.history[-1]), "best": asdict(best_epoch(self.history))}


def build_trainable(record: ModelRecord, recipe: Recipe, num_images: int) -> keras.Model:
    """The model of ``record`` with its auxiliary heads, and with the recipe's loss, optimizer and metrics.

    Everything that creates variables is made here, in one place that a distribution strategy's scope can wrap.

    Raises:
        UsageError: the model has no such stage to freeze, no features for rates of their own, or other weights at
            one of the recipe's sizes.
        CnnRegistryError: as `create_model`.
    """
    from .heads import with_aux_losses

    keras = backend.keras()
    keras.utils.set_random_seed(recipe.seed)
    options = record.options | ({"aux_heads": True} if record.aux_heads else {})
    tuning, spec = recipe.fine_tuning, get_spec(record.name)
    model = create_model(
        record.name,
        num_classes=record.num_classes,
        input_shape=record.input_shape,
        weights=tuning.weights,
        **options,
    )
    if recipe.train_sizes:
        _check_sizes(spec, record, recipe.train_sizes, options)
    if record.aux_heads:
        model = with_aux_losses(model, record.aux_heads)
    if recipe.train_sizes:
        model.input_spec = (
            None  # the graph's layers take other sizes; Keras would compare with the one it was built for
        )
    if tuning.freeze:
        freeze(model, spec, tuning.freeze)
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


def _check_sizes(spec: ModelSpec, record: ModelRecord, sizes: Sequence[int], options: Mapping[str, Any]) -> None:
    """Refuse sizes for which the network would have other weights.

    Raises:
        UsageError: it has, as every network has that flattens its maps.
        InputShapeError: a size is too small for it.
    """

    def shapes(size: int) -> list[tuple[int, ...]]:
        with backend.keras().StatelessScope(initialize_variables=False):
            model = create_model(spec.name, num_classes=record.num_classes, input_shape=(size, size, 3), **options)
            return [tuple(weight.shape) for weight in model.weights]

    evaluated_at = record.input_shape[0]
    own = shapes(evaluated_at)
    for size in set(sizes) - {evaluated_at}:
        if shapes(size) != own:
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
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tensorboard: bool = False,
) -> Trained:
    """Train ``model`` on the split's training images and write history and weights into ``run``.

    Ctrl-C ends it after the weights reached so far are written.

    Raises:
        TrainingError: the loss stopped being a finite number.
    """
    from .callbacks import ProgressBar, Recorder, StopOnNaN, WeightAverage

    steps = steps_per_epoch(len(split.train), recipe.batch_size)
    bar = ProgressBar(recipe.epochs, steps, recipe.batch_size) if sys.stderr.isatty() else None
    tell = bar.print if bar else note
    average = WeightAverage(model, recipe.ema * steps) if recipe.ema else None
    recorder = Recorder(
        run,
        len(split.train),
        lambda epoch: tell(epoch.line(recipe.epochs)),
        average.in_place if average else nullcontext,
    )
    on_nan = StopOnNaN()
    own = [item for item in (average, recorder, on_nan, bar) if item] + _recipe_callbacks(recipe, run, tensorboard)
    training = training_batches(
        images.training,
        split.train,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        seed=recipe.seed,
        augmentation=recipe.augmentation,
        pixels=recipe.pixels,
        sizes=recipe.train_sizes or (images.evaluation.source.size,),
    )
    validation = evaluation_batches(images.evaluation, split.val, batch_size=recipe.batch_size, pixels=recipe.pixels)
    ending: Ending = "finished"
    try:
        model.fit(
            training,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            validation_data=validation,
            callbacks=[*own, *callbacks],
            shuffle=False,  # the pipeline has chosen the order
            verbose=0,
        )
    except KeyboardInterrupt:
        ending = "interrupted"
    finally:
        if bar:
            bar.close()
    if on_nan.epoch:
        raise TrainingError(_diverged(on_nan.epoch, recipe, recorder.history))
    if ending == "finished" and len(recorder.history) < recipe.epochs:
        ending = "stopped early"
    if average:
        average.swap()
    save_weights(main_network(model), run.last_weights)
    return Trained(ending, tuple(recorder.history))


def _recipe_callbacks(recipe: Recipe, run: Run, tensorboard: bool) -> list[keras.callbacks.Callback]:
    keras = backend.keras()
    callbacks = []
    if stopping := recipe.early_stopping:
        callbacks.append(
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=stopping.patience, min_delta=stopping.min_delta)
        )
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(log_dir=str(run.path / "tensorboard")))
    return callbacks


def _diverged(epoch: int, recipe: Recipe, history: Sequence[Epoch]) -> str:
    rate = history[-1].learning_rate if history else math.nan
    lower = recipe.optimizer.learning_rate / 3
    return (
        f"The loss was no finite number in epoch {epoch} (learning rate {rate:.2g}). "
        f"Try --set optimizer.learning_rate={lower:.1g} or --set optimizer.clipnorm=5."
    )
