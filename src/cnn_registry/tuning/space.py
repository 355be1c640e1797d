"""What is searched: settings of the recipe, each with a range or with choices."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry.errors import CnnRegistryError, UsageError
from cnn_registry.recipes.installed import MAX_BYTES
from cnn_registry.recipes.schema import Recipe
from cnn_registry.recipes.toml import toml_value
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.report.recipe_rows import settings_of, value_text
from cnn_registry.system.files import read_regular
from cnn_registry.text import LONGEST_NAME, quoted, shorten

if TYPE_CHECKING:
    import optuna

DEFAULT = "default"
"""The name of the space that is made from the recipe."""

FIXED = ("best_by", "callbacks", "extends", "name", "seed", "split_seed", "summary")
"""Settings that must be the same in all trials."""

LOSSES = ("class_weights", "effective_beta", "label_smoothing", "loss")
"""Settings, and tables of settings, on which the validation loss depends, so that losses cannot be compared."""

FORMS = "{low = 1e-4, high = 1e-1, log = true}, {low = 0.0, high = 0.6, step = 0.1} or {choices = [16, 32]}"

DROPOUTS = ("dropout", "dropout_rate", "drop_rate")
"""What models call the share of values that is dropped."""

MOST_DROPPED = 0.7

LARGEST = 2**53
"""The largest number of a range: up to here, a float64 holds every integer."""

MOST_STEPS = 1_000_000
"""Steps of a range."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low, high: the ends.
        log: draw the logarithm uniformly, not the number.
        step: of the numbers; ``None`` for all, of integers for 1.
        whole: integers only.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        """What a trial takes."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)

    def samples(self) -> list[Any]:
        """Values that show whether a setting takes the range."""
        return [int(self.low), int(self.high)] if self.whole else [self.low, self.high]

    def has(self, value: Any) -> bool:
        """Whether a trial could take ``value``."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.whole and value != int(value):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def to_dict(self) -> dict[str, Any]:
        """As a space file has it."""
        ends = self.samples()
        step = int(self.step) if self.step and self.whole else self.step
        found = {"low": ends[0], "high": ends[1], "log": self.log or None, "step": step}
        return {name: value for name, value in found.items() if value is not None}

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (at - low) / (high - low)


@dataclass(frozen=True)
class Choices:
    """Any of some values; ``"none"`` stands for ``None``, which TOML has not."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        """What a trial takes."""
        labels = [self.label(value) for value in self.values]
        return self._read(self.values[labels.index(trial.suggest_categorical(key, labels))])

    def samples(self) -> list[Any]:
        """All values."""
        return [self._read(value) for value in self.values]

    def has(self, value: Any) -> bool:
        """Whether a trial could take ``value``."""
        wanted = self.label(value)
        return any(type(known) is type(wanted) and known == wanted for known in map(self.label, self.values))

    def to_dict(self) -> dict[str, Any]:
        """As a space file has it."""
        return {"choices": list(self.values)}

    def place(self, label: Any) -> float:
        """Where a value lies, from 0 to 1, by what a study calls it."""
        labels = [self.label(value) for value in self.values]
        return labels.index(label) / max(len(labels) - 1, 1)

    @staticmethod
    def label(value: Any) -> Any:
        """What a study calls a value: lists and tables cannot be stored."""
        value = "none" if value is None else value
        return value if isinstance(value, bool | int | float | str) else json.dumps(value)

    @staticmethod
    def _read(value: Any) -> Any:
        return None if value == "none" else value


Space = Mapping[str, Range | Choices]
"""What is searched, by the dotted keys of settings."""


def read_space(path: Path) -> Space:
    """The space of a TOML file.

    Raises:
        UsageError: it cannot be read, or a value is neither a range nor choices.
    """
    try:
        data = tomllib.loads(read_regular(path, MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"The space {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The space {path} is not valid TOML: {error}.") from error
    try:
        space = dict(_entries(data, "", path))
    except RecursionError as error:
        raise UsageError(f"The space {path}: its tables are nested too deeply.") from error
    if not space:
        raise UsageError(
            f"The space {path} has no settings; expected lines such as: batch_size = {{choices = [16, 32]}}"
        )
    return space


def _entries(data: Mapping[str, Any], prefix: str, path: Path) -> Iterator[tuple[str, Range | Choices]]:
    for name, value in data.items():
        key = prefix + name
        if isinstance(value, dict) and value.keys() & {"low", "high", "choices"}:
            yield key, _entry(key, value, path)
        elif isinstance(value, dict) and value:
            yield from _entries(value, f"{key}.", path)
        else:
            raise UsageError(f"The space {path}: {_shown(key)}: expected {FORMS}; got {quoted(value)}.")


def _entry(key: str, given: Mapping[str, Any], path: Path) -> Range | Choices:
    def refused(reason: str) -> UsageError:
        return UsageError(f"The space {path}: {_shown(key)}: {reason}; got {_shown(toml_value(given))}.")

    if given.keys() == {"choices"}:
        choices = given["choices"]
        if not isinstance(choices, list) or not choices:
            raise refused("choices are a list of one or more values")
        try:
            distinct = {json.dumps(value, allow_nan=False) for value in choices}
        except (TypeError, ValueError):
            raise refused("choices are finite numbers, strings, true, false, and lists and tables of these") from None
        if len(distinct) < len(choices):
            raise refused("a value is among the choices twice")
        return Choices(tuple(choices))
    if not given.keys() <= {"low", "high", "log", "step"} or not {"low", "high"} <= given.keys():
        raise refused(f"expected {FORMS}")
    low, high, log, step = given["low"], given["high"], given.get("log", False), given.get("step")
    numbers = [value for value in (low, high, step) if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers):
        raise refused("low, high and step are numbers")
    if not all(abs(number) <= LARGEST for number in numbers):  # neither is NaN
        raise refused(f"low, high and step are numbers up to {LARGEST:,}")
    if not low < high:
        raise refused("low must be below high")
    if not isinstance(log, bool):
        raise refused("log is true or false")
    if log and low <= 0:
        raise refused("a logarithmic range begins above 0")
    if step is not None and (log or not 0 < step <= high - low):
        raise refused("step is above 0, not larger than the range, and not logarithmic")
    if step is not None and (high - low) / step > MOST_STEPS:
        raise refused(f"there are at most {MOST_STEPS:,} steps")
    return Range(low, high, log, step, all(isinstance(value, int) for value in numbers))


def _shown(text: str) -> str:
    """A key or a value for a message."""
    return shorten(text, LONGEST_NAME)


def checked_space(
    space: Space, name: str, recipe: Recipe, spec: ModelSpec, resolved: Callable[[Mapping[str, Any]], Recipe]
) -> Space:
    """The space, with ranges of integers made ranges of all numbers where the setting takes these.

    Args:
        space: as it was read.
        name: where it comes from, for messages.
        recipe: the recipe that is tuned.
        spec: the model's spec.
        resolved: the recipe with some settings; it raises where one is wrong.

    Raises:
        UsageError: a setting cannot be searched, or does not take a value.
    """
    for key, entry in space.items():
        if key in FIXED:
            raise UsageError(f"The space {name}: {key} must be the same in all trials; set it with --set.")
        if recipe.best_by == "val_loss" and any(key == loss or key.startswith(f"{loss}.") for loss in LOSSES):
            raise UsageError(
                f"The space {name}: with {key}, losses of trials cannot be compared. Compare them by another measure: "
                f"--set best_by=accuracy"
            )
        for value in entry.samples():
            try:
                tried = resolved({key: value})
            except CnnRegistryError as error:
                raise UsageError(f"The space {name}: {_shown(key)} does not take {quoted(value)}: {error}") from error
            if tried.schedule.name == "plateau":
                raise UsageError(
                    f"{name if key.startswith('schedule') else 'The recipe'} has the schedule 'plateau', which watches "
                    f"validation images; the best recipe is retrained without any. Choose another schedule."
                )
    return {key: _typed(key, entry, spec, resolved) for key, entry in space.items()}


def _typed(key: str, entry: Range | Choices, spec: ModelSpec, resolved: Callable[[Mapping[str, Any]], Recipe]) -> Any:
    """A range of all numbers, where it is one of integers but the setting takes others as well."""
    if not isinstance(entry, Range) or not entry.whole:
        return entry
    if key.startswith("model."):
        takes_all = isinstance(spec.options.get(key.removeprefix("model.")), float)
    else:
        try:
            resolved({key: entry.low + 0.5})
            takes_all = True
        except CnnRegistryError:
            takes_all = False
    return Range(entry.low, entry.high, entry.log, entry.step) if takes_all else entry


def default_space(recipe: Recipe, spec: ModelSpec) -> Space:
    """What is searched where the user does not say: around the recipe, and only what it uses.

    Learning rate and weight decay within a factor of 10 and 30, half and twice the batch size, the model's dropout, and
    how strongly images are varied and mixed.
    """
    rate, decay, batch = recipe.optimizer.learning_rate, recipe.optimizer.weight_decay, recipe.batch_size
    space: dict[str, Range | Choices] = {
        "optimizer.learning_rate": Range(_rounded(rate / 10), _rounded(rate * 10), log=True),
        "batch_size": Choices(tuple(sorted({max(batch // 2, 1), batch, 2 * batch}))),
    }
    if decay:
        space["optimizer.weight_decay"] = Range(_rounded(decay / 30), _rounded(decay * 30), log=True)
    for name in DROPOUTS:
        if isinstance(dropped := recipe.model.get(name, spec.options.get(name)), int | float):
            space[f"model.{name}"] = Range(0.0, max(MOST_DROPPED, float(dropped)))
    varied, mixed = recipe.augmentation, recipe.mixing
    if varied.crop_area:
        areas = sorted({varied.crop_area, *((low, 1.0) for low in (0.5, 0.75, 0.9))})
        space["augmentation.crop_area"] = Choices(("none", *map(list, areas)))
    if varied.flip:
        space["augmentation.flip"] = Choices((True, False))
    if varied.rotation:
        space["augmentation.rotation"] = Range(0.0, min(2 * varied.rotation, 180.0))
    if mixed.mixup:
        space["mixing.mixup"] = Range(0.0, 2 * mixed.mixup)
    if mixed.cutmix:
        space["mixing.cutmix"] = Range(0.0, 2 * mixed.cutmix)
    return space


def _rounded(number: float) -> float:
    return float(f"{number:.3g}")


def recipe_and_options(recipe: Recipe, spec: ModelSpec) -> dict[str, Any]:
    """All settings by their dotted keys, the model's options among them."""
    return {f"model.{name}": value for name, value in spec.options.items()} | settings_of(recipe)


def as_it_is(space: Space, recipe: Recipe, spec: ModelSpec) -> dict[str, Any]:
    """What the recipe itself has, as far as the space has it, in the terms of a study."""
    settings = recipe_and_options(recipe, spec)
    found = {}
    for key, entry in space.items():
        value = settings.get(key)
        if entry.has(value):
            found[key] = Choices.label(value) if isinstance(entry, Choices) else value
    return found


def space_lines(space: Space) -> Iterator[str]:
    """The lines of a space file."""
    return (f"{key} = {toml_value(entry.to_dict())}" for key, entry in space.items())


def brief(value: Any) -> str:
    """A value for people, in at most four digits."""
    return f"{value:.4g}" if isinstance(value, float) else value_text(value)


def suggested(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """The settings that a trial takes."""
    return {key: entry.suggest(trial, key) for key, entry in space.items()}


def chosen_settings(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The settings of a trial that has ended, from what the study calls them."""
    found = {}
    for key, entry in space.items():
        if key not in params:
            continue
        if isinstance(entry, Choices):
            labels = [entry.label(value) for value in entry.values]
            found[key] = entry.samples()[labels.index(params[key])]
        else:
            found[key] = params[key]
    return found
