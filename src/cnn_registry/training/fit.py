"""From a plan to trained weights in a run directory: one training as an object."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import count_of, without_optimizer
from cnn_registry.backend.strategy import ALONE, Distribution
from cnn_registry.data.balance import class_weights
from cnn_registry.data.dataset import Split
from cnn_registry.data.pipeline.batches import evaluation_batches, reading, steps_per_epoch, training_batches
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.errors import CnnRegistryError, DivergedError, TrainingError
from cnn_registry.networks.acceleration import accelerated
from cnn_registry.networks.fingerprint import fingerprint
from cnn_registry.networks.graph import main_network
from cnn_registry.networks.weights.keras_file import load_exactly
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.runs.history import Epoch, has_stalled
from cnn_registry.runs.record import ModelRecord
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import Snapshot
from cnn_registry.runs.training_progress import TrainingProgress
from cnn_registry.runs.weights_file import save_weights, share_if_equal
from cnn_registry.system.progress import working
from cnn_registry.text import one_line

from .callbacks.endings import Diverged, EndedEarly, Stopped
from .network import build_trainable
from .options import RunOptions
from .outcome import Ending, Trained
from .recipe_callbacks import build_callbacks
from .schedule import warmup_steps
from .signals import StopRequest, stop_requests
from .state import TrainingState, shared_snapshot

if TYPE_CHECKING:
    import keras
    from tensorflow.data import Dataset

    from .callbacks.averaging import WeightAverage
    from .callbacks.progress_bar import ProgressBar
    from .callbacks.time_limit import TimeLimit


class Images(NamedTuple):
    """The same images, decoded at the sizes that they are needed in.

    Attributes:
        training: training crops are cut from these.
        evaluation: those that the network sees in validation.
    """

    training: LoadedImages
    evaluation: LoadedImages


HIGHEST_ADVISED = 0.1
"""The highest learning rate that is advised after one that diverged."""

LONGEST_AVERAGE = 10
"""An average of weights forgets within one tenth of the training at most: the weights of its beginning are poor."""


class Fit:
    """One training: what is trained, how, on which images, and how far it has come.

    Args:
        spec: the model's spec.
        form: in which form it is built.
        recipe: how to train.
        images: both decodings of the dataset.
        split: which of them are for what.
        pretrained: whether to load the weights that the recipe names; a checkpoint brings others.
        distribution: the processors that train it together.

    Attributes:
        model: the network with the recipe's loss, optimizer and metrics.
        average: of its weights, if the recipe asks for one.
        progress: the epochs and steps so far.
        holds_best: whether the weights in the network are those of the best epoch; known when training has ended.
        clock: ends it in time, if the recipe has a time limit.

    Raises:
        UsageError: the model has no such stage to freeze, no features for rates of their own, or other weights at
            one of the recipe's sizes.
        CnnRegistryError: as `create_model`.
    """

    model: keras.Model
    average: WeightAverage | None
    clock: TimeLimit | None

    def __init__(
        self,
        spec: ModelSpec,
        form: ModelRecord,
        recipe: Recipe,
        images: Images,
        split: Split,
        *,
        pretrained: bool = True,
        distribution: Distribution = ALONE,
    ) -> None:
        self.distribution = distribution
        if distribution.kind == "mirrored":  # whose variables the faster steps do not take
            recipe = recipe.with_settings({"accelerate": False})
        self.spec, self.form, self.recipe, self.images, self.split = spec, form, recipe, images, split
        self.progress = TrainingProgress(steps_per_epoch(len(split.train), recipe.batch_size))
        self.holds_best = False
        self._resumed_from: Snapshot | None = None
        self._build(pretrained)

    def _build(self, pretrained: bool) -> None:
        with self.distribution.scope():
            self._make_variables(pretrained)
        if not self.distribution.is_alone:
            from .steps import share_steps

            share_steps(self.model, self.distribution, synchronise=self.recipe.sync_batch_norm)

    def _make_variables(self, pretrained: bool) -> None:
        """Everything that makes variables: each has a copy on each device of the distribution."""
        self._pretrained = pretrained
        self.model, self._metric_names = build_trainable(
            self.spec,
            self.form,
            self.recipe,
            len(self.split.train),
            class_names=self.images.evaluation.dataset.class_names,
            pretrained=pretrained,
            replicas=self.distribution.replicas.of,
        )
        self.average = None
        if self.recipe.ema:
            from .callbacks.averaging import WeightAverage

            recipe, steps = self.recipe, self.progress.steps_per_epoch
            idle = 1 if warmup_steps(recipe.schedule, recipe.epochs, steps) else 0  # its rate is zero
            self.average = WeightAverage(self.model, self._averaged_steps(recipe.epochs), self.progress, idle)
        self.callbacks = build_callbacks(self.recipe.callbacks)
        self.clock = None
        states = dict(self.callbacks)
        if self.recipe.time_limit:
            from .callbacks.time_limit import TimeLimit

            self.clock = TimeLimit(self.recipe, self.progress, self._val_steps)
            states[TimeLimit.NAME] = self.clock
        self.state = TrainingState(self.model, self.progress, self.average, states)

    def _averaged_steps(self, epochs: int) -> float:
        """The steps over which the average of weights forgets, in a training of so many epochs."""
        return min(self.recipe.ema or 0.0, epochs / LONGEST_AVERAGE) * self.progress.steps_per_epoch

    @property
    def _val_steps(self) -> int:
        """Batches of the validation."""
        return steps_per_epoch(len(self.split.val), self.recipe.batch_size)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the network without its auxiliary heads."""
        return fingerprint(main_network(self.model))

    def restore(self, run: Run) -> Snapshot | None:
        """Continue from the latest checkpoint of ``run``; where none is whole, from the beginning.

        Raises:
            RunError: it belongs to another training.
        """
        snapshot = shared_snapshot(self.distribution, lambda: run.checkpoints.latest(self.state.layout()))
        if snapshot:
            self.state.restore(snapshot)
            self._resumed_from = snapshot
        elif self.recipe.fine_tuning.weights and not self._pretrained:
            self.forget()
            self._build(pretrained=True)
        return snapshot

    def train_on(self, weights: Path, history: Sequence[Epoch], class_names: Sequence[str]) -> None:
        """Continue a training that has ended, from its last weights, with a new optimizer at the step that it came to.

        Args:
            weights: the file; auxiliary heads are not in it, and keep their random initialization.
            history: the epochs so far.
            class_names: of the run, in the order of the outputs.

        Raises:
            WeightsError: they do not fit, or their file is damaged.
        """
        network = main_network(self.model)
        if self.distribution.is_chief:  # the others get its values when training begins
            with without_optimizer(network):
                load_exactly(network, weights, class_names)
        self.progress.history[:] = history
        self.progress.step = len(history) * self.progress.steps_per_epoch
        count_of(self.model.optimizer).assign(self.progress.step)
        if self.average:
            self.average.start_again()

    def forget(self) -> None:
        """Give back the memory of all variables; the object cannot be used afterwards."""
        averages = self.average.averages if self.average else []
        backend.forget([*self.model.variables, *self.model.optimizer.variables, *averages])

    def train(
        self,
        run: Run,
        options: RunOptions,
        request: StopRequest | None = None,
        follow: Callable[[Epoch], None] | None = None,
    ) -> Trained:
        """Train, and write history, checkpoints and weights into ``run``.

        The first Ctrl-C, SIGTERM or SIGHUP ends it after the step, with a checkpoint; a second Ctrl-C at once.

        Args:
            run: where everything is written; its record is the caller's.
            options: how it is carried out; ``on_nan`` is the caller's.
            request: where the caller catches the signals already; they are caught here otherwise.
            follow: called with each epoch when it has ended and is in the history.

        Raises:
            TrainingError: the loss or a weight is no longer finite, or a step or a callback failed.
            RunError: something cannot be written.
        """
        ending: Ending = "finished"
        at_once = False
        if self.clock:
            self.clock.start(options.began)
        with self._bar() as bar, nullcontext(request) if request else stop_requests() as stop:
            own = self._own_callbacks(run, options, stop, bar, follow)
            callbacks = [*own, *options.callbacks, *self._last_callbacks()]
            try:
                self.state.share(self.distribution)
                with reading(*self.images), self.distribution.working_together(), self._accelerated():
                    self._fit_epochs(callbacks)
            except Stopped:
                ending = "interrupted" if stop.signal == signal.SIGINT else "terminated"
            except KeyboardInterrupt:
                ending, at_once = "interrupted", True
            except Diverged as diverged:
                if diverged.from_the_start:
                    raise TrainingError(
                        f"The loss was not finite in the first step, before any weight had changed: {self.spec.name} "
                        f"or its loss gives values that are not finite for these images. Another learning rate will "
                        f"not help."
                    ) from None
                raise DivergedError(self._diverged()) from None
            except EndedEarly as short:
                raise TrainingError(
                    f"{self._where()}: the {short.what} ended after {short.done} of {short.of} steps. A callback that "
                    f"raises StopIteration causes this; to end a training, set self.model.stop_training = True."
                ) from None
            except (CnnRegistryError, SystemExit, GeneratorExit):
                raise
            except BaseException as error:  # TensorFlow's, or a callback's, which may be anyone's code
                raise TrainingError(self.failed(error)) from error
            if ending == "finished" and self.progress.epochs < self.recipe.epochs and not self._ended_by():
                ending = "stopped early"
            if not at_once:
                self.save_last(run)
        return self.trained(ending, at_once)

    def _accelerated(self) -> AbstractContextManager[None]:
        """Faster steps, where the recipe asks for them."""
        return accelerated(self.model) if self.recipe.accelerate else nullcontext()

    def _last_callbacks(self) -> list[keras.callbacks.Callback]:
        """What follows the user's callbacks."""
        if self.distribution.kind != "multiworker":
            return []
        from .callbacks.together import StopTogether

        return [StopTogether(self.distribution)]

    def trained(self, ending: Ending, at_once: bool = False) -> Trained:
        """What there is so far, as a training that ended so."""
        recipe = self.recipe
        return Trained(
            ending,
            tuple(self.progress.history),
            at_once,
            recipe.loss.name,
            recipe.label_smoothing,
            recipe.best_by,
            self._ended_by() if ending == "finished" else "",
        )

    def _ended_by(self) -> str:
        """The limit that ended it, in a few words; empty where it has none, or came to its last epoch in time."""
        whole = self.recipe.epochs * self.progress.steps_per_epoch
        if not self.clock or not self.clock.is_over or self.progress.step >= whole:
            return ""
        done = self.progress.step / self.progress.steps_per_epoch
        return f"the time limit of {self.recipe.time_limit}, after {done:.1f} of {self.recipe.epochs} epochs"

    def save_last(self, run: Run) -> None:
        """Write the weights as they are now, or their average, unless they are no longer finite."""
        if self.average:
            self.average.swap_in()
        with working("Saving the weights", after=1.0):
            if run.writes and all(np.isfinite(weight).all() for weight in self.model.get_weights()):
                save_weights(main_network(self.model), run.last_weights, run.record.data.class_names)
                self.holds_best = share_if_equal(run.best_weights, run.last_weights)

    @contextmanager
    def _bar(self) -> Iterator[ProgressBar]:
        """The bar of a terminal or a notebook, or lines elsewhere."""
        from .callbacks.progress_bar import ProgressBar

        bar = ProgressBar(self.recipe.epochs, self.progress, self.recipe.batch_size)
        try:
            yield bar
        finally:
            bar.close()

    def _own_callbacks(
        self,
        run: Run,
        options: RunOptions,
        request: StopRequest,
        bar: ProgressBar,
        follow: Callable[[Epoch], None] | None,
    ) -> list[keras.callbacks.Callback]:
        """The callbacks that move the training's state, in their order."""
        from .callbacks.checkpoint import CheckpointCallback
        from .callbacks.early_stopping import StopEarly
        from .callbacks.images import RecordImages
        from .callbacks.recorder import Recorder

        recipe, progress = self.recipe, self.progress

        def ended(epoch: Epoch) -> None:
            bar.print(epoch.line(recipe.epochs, bar.width))
            if follow:
                follow(epoch)

        recorder = Recorder(
            run,
            progress,
            len(self.split.train),
            self._val_steps,
            self._metric_names,
            recipe.best_by,
            ended,
        )
        stop_early = StopEarly(recipe.early_stopping, recipe.best_by, progress) if recipe.early_stopping else None
        images = RecordImages(run, self.images.evaluation, self.distribution)
        checkpoint = CheckpointCallback(
            run,
            self.state,
            options.checkpoint_minutes,
            request,
            keep_going=options.keep_going,
            resume_from=self._resumed_from,
            distribution=self.distribution,
            saved=images.keep,
        )
        plateau = None
        if recipe.schedule.name == "plateau":
            from .callbacks.plateau import LowerOnPlateau

            warmup = warmup_steps(recipe.schedule, recipe.epochs, progress.steps_per_epoch)
            plateau = LowerOnPlateau(recipe, warmup, progress)
        # A checkpoint keeps what the recipe's callbacks know after the same step, so they come before it.
        own = (plateau, recorder, self.clock, self.average, bar, stop_early, *self.callbacks.values())
        return [item for item in (*own, images, checkpoint) if item]

    def _fit_epochs(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """All epochs that are left, the first of them from where it was left."""
        recipe, progress, images = self.recipe, self.progress, self.images
        # Keras reads the first batches of a dataset that ends once more, in vain. One that is repeated has no end.
        validation = self.distribution.dataset(
            lambda: evaluation_batches(
                images.evaluation,
                self.split.val,
                batch_size=recipe.batch_size,
                pixels=recipe.pixels,
                replicas=self.distribution.replicas,
            ).repeat()
        )
        while progress.epochs < recipe.epochs and not self._is_over():
            step = progress.step
            epochs = self._planned_epochs()
            self.model.fit(
                self.batches(epochs),
                initial_epoch=progress.epochs,
                # Keras counts an epoch's steps from its beginning, so what is left of one is an epoch of its own.
                # With a time limit, what there is time for is planned again after each epoch.
                epochs=progress.epochs + 1 if progress.batch or self.clock else recipe.epochs,
                steps_per_epoch=progress.steps_per_epoch - progress.batch,
                validation_data=validation,
                validation_steps=self._val_steps,
                callbacks=list(callbacks),
                shuffle=False,  # the pipeline has chosen the order
                verbose=0,
            )
            if self.model.stop_training:  # by early stopping, or by a callback of the user
                return
            if progress.step == step:
                raise TrainingError(f"{self._where()}: a callback made Keras skip the epochs that are left.")

    def batches(self, epochs: int) -> Dataset:
        """The batches of a training of so many epochs, from the step that it has come to, again and again.

        See `training_batches`.
        """
        recipe, images = self.recipe, self.images
        return self.distribution.dataset(
            lambda: training_batches(
                images.training,
                self.split.train,
                batch_size=recipe.batch_size,
                epochs=epochs,
                seed=recipe.seed,
                augmentation=recipe.augmentation,
                mixing=recipe.mixing,
                sampling=recipe.sampling,
                weights=self._class_weights(),
                pixels=recipe.pixels,
                sizes=recipe.sizes(self.form.input_shape),
                first_step=self.progress.step,
                replicas=self.distribution.replicas,
            ).repeat()
        )

    def _planned_epochs(self) -> int:
        """The epochs over which mixing, sizes and the average of weights are laid."""
        if not self.clock:
            return self.recipe.epochs
        epochs = self.clock.epochs_in_all
        if self.average:
            self.average.steps = self._averaged_steps(epochs)
        return epochs

    def _class_weights(self) -> np.ndarray | None:
        """The weights of the classes' images in the loss, ``(num_classes,)``; ``None`` where all are 1."""
        recipe, labels = self.recipe, self.images.training.dataset.labels[self.split.train]
        if recipe.class_weights == "none":
            return None
        return class_weights(labels, self.form.num_classes, recipe.class_weights, recipe.effective_beta)

    def _is_over(self) -> bool:
        stopping, history = self.recipe.early_stopping, self.progress.history
        if self.clock and history and not self.clock.has_time():
            return True
        by = self.recipe.best_by
        return stopping is not None and has_stalled(history, stopping.patience, stopping.min_delta, by)

    def _diverged(self) -> str:
        progress, recipe = self.progress, self.recipe
        rate = float(backend.keras().ops.convert_to_numpy(self.model.optimizer.learning_rate))
        lower = min(recipe.optimizer.learning_rate / 3, HIGHEST_ADVISED)
        return (
            f"The loss or a weight was no longer finite in epoch {progress.epochs + 1}, step {progress.step} "
            f"(learning rate {rate:.2g}). Try --set optimizer.learning_rate={lower:.1g} or "
            f"--set optimizer.clipnorm=5, or --on-nan rollback."
        )

    def _where(self) -> str:
        epoch = self.progress.begun or min(self.progress.epochs + 1, self.recipe.epochs)
        return f"Training failed after step {self.progress.step} (epoch {epoch})"

    def failed(self, error: BaseException) -> str:
        """One line for an error of TensorFlow's, which may quote a traceback of the pipeline's, or of a callback."""
        where = self._where()
        if backend.is_lack_of_memory(error):
            half = max(self.recipe.batch_size // 2, 1)
            return f"{where}: out of memory. Try --set batch_size={half} or a smaller image_size."
        cause = re.search(r"^(?:\{\{.*?\}\} )?(\w+(?:Error|Exception): .+)$", str(error), re.MULTILINE)
        return f"{where}: {cause[1] if cause else one_line(error)}"
