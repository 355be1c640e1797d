"""How trainings are carried out: what a user asks for beside the recipe, checked before anything is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cnn_registry import backend
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.runs.record import OptionsRecord, TrackerName
from cnn_registry.system.extras import need
from cnn_registry.text import quoted
from cnn_registry.tracking.trackers import check_trackers, tracker_names
from cnn_registry.training.options import OnNaN, RunOptions
from cnn_registry.training.recipe_callbacks import build_callbacks

if TYPE_CHECKING:
    import keras

RESTORES = ("BackupAndRestore",)
"""Keras' callbacks that move a training to where another one was, which its history would not tell."""

SETS_THE_RATE = ("LearningRateScheduler", "ReduceLROnPlateau")
"""Keras' callbacks that assign the learning rate, which a schedule does not allow."""


def new_options(
    callbacks: Iterable[keras.callbacks.Callback],
    track: str | Sequence[str],
    tensorboard: bool,
    checkpoint_minutes: float,
    keep_going: bool,
    on_nan: OnNaN,
    report: bool,
) -> RunOptions:
    """How new trainings are carried out, from the arguments of `train` of these names.

    Raises:
        MissingPackageError, UsageError: as `chosen_trackers`, `listed_callbacks` and `check_run_options`.
    """
    followed = chosen_trackers(track, tensorboard)
    options = RunOptions(listed_callbacks(callbacks), followed, checkpoint_minutes, keep_going, on_nan, report)
    check_run_options(options)
    return options


def check_run_options(options: RunOptions) -> None:
    """Refuse what cannot be done.

    Raises:
        MissingPackageError: a package for splits or plots is not installed.
        UsageError: checkpoints have no minutes between them.
    """
    need("Training", "jinja2", "matplotlib", "scipy", "sklearn")
    if not 0 < (minutes := options.checkpoint_minutes) < math.inf:
        raise UsageError(f"checkpoint_minutes must be a number greater than 0; got {quoted(minutes)}.")


def chosen_trackers(
    track: str | Sequence[str] | None, tensorboard: bool | None, before: Sequence[TrackerName] = ()
) -> tuple[TrackerName, ...]:
    """The trackers that are asked for, and those of ``before`` where ``track`` is ``None``.

    Raises:
        MissingPackageError: a package that one of those asked for needs is not installed.
        UsageError: one is unknown, or cannot be used as it is set up here.
    """
    asked = [*tracker_names(track or ()), *(["tensorboard"] if tensorboard else [])]
    check_trackers(tracker_names(asked))
    kept = [] if track is not None else [name for name in before if name != "tensorboard" or tensorboard is not False]
    return tracker_names([*kept, *asked])


def listed_callbacks(callbacks: Iterable[keras.callbacks.Callback]) -> tuple[keras.callbacks.Callback, ...]:
    """The callbacks as often as they are needed, which a generator gives once.

    Raises:
        UsageError: there is no list of them.
    """
    try:
        return tuple(callbacks)
    except TypeError:
        raise UsageError(f"callbacks takes a list of Keras callbacks; got {callbacks!r:.200}.") from None


def check_callbacks(options: RunOptions, recipe: Recipe) -> None:
    """Refuse what is not a callback, and Keras' callbacks that would set the rate of a schedule or restore weights.

    Raises:
        UsageError: there is one.
    """
    for callback in options.callbacks:
        if not isinstance(callback, _keras_callback("Callback")):
            raise UsageError(f"callbacks takes Keras callbacks; got {callback!r:.200}.")
    callbacks = (*options.callbacks, *build_callbacks(recipe.callbacks).values())
    if name := _first_of(RESTORES, callbacks):
        raise UsageError(
            f"{name} would put weights of another training in place. Leave the callback out: a run has checkpoints of "
            f"its own, from which --resume (resume in Python) continues."
        )
    if recipe.schedule.name == "constant" and not recipe.schedule.warmup_epochs:
        return
    if name := _first_of(SETS_THE_RATE, callbacks):
        raise UsageError(
            f"{name} sets the learning rate, which the recipe's schedule sets already. Leave the callback out, or "
            f"use the settings schedule.name=constant and schedule.warmup_epochs=0."
        )


def _first_of(names: Sequence[str], callbacks: Sequence[keras.callbacks.Callback]) -> str | None:
    """The first of Keras' classes of callbacks that one is an instance of."""
    return next((name for name in names if any(isinstance(item, _keras_callback(name)) for item in callbacks)), None)


def _keras_callback(name: str) -> type:
    kind: type = getattr(backend.keras().callbacks, name)
    return kind


def options_record(options: RunOptions, on_bad_image: OnBadImage, max_pixels: int | None) -> OptionsRecord:
    """What a run keeps of the options, so that it is resumed with the same."""
    return OptionsRecord(
        track=list(options.track),
        checkpoint_minutes=options.checkpoint_minutes,
        keep_going=options.keep_going,
        on_nan=options.on_nan,
        on_bad_image=on_bad_image,
        max_pixels=max_pixels,
    )
