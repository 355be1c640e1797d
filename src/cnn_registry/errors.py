"""Every error that a user can meet, each with its one-line message.

A message says what was expected, what came, and what to do. ``exit_code`` is what the command line ends with:
1 when the work failed, 2 when the request itself was wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cnn_registry.text import either, printable, suggestion


def _qualified(name: str, providers: Iterable[str]) -> str:
    return either(f"{provider}:{name}" for provider in providers)


__all__ = [
    "AmbiguousAliasError",
    "AmbiguousNameError",
    "BackendError",
    "BadImageError",
    "BrokenPluginError",
    "CnnRegistryError",
    "DataError",
    "DeclarationError",
    "DivergedError",
    "DownloadError",
    "DuplicateNameError",
    "InputShapeError",
    "ModelBuildError",
    "RecipeError",
    "RunError",
    "TrainingError",
    "UnknownNameError",
    "UnknownOptionError",
    "UnknownProviderError",
    "UsageError",
    "WeightsError",
    "suggestion",
]


class CnnRegistryError(Exception):
    """The base of every error raised on purpose by this package. Its message is one line that any terminal can show."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(CnnRegistryError):
    """What was asked for cannot be: a name, an option or a value is wrong. Nothing was done."""

    exit_code = 2


class UnknownNameError(UsageError, KeyError):
    """No model, data set or recipe has this name."""

    def __init__(self, noun: str, name: str, known: Iterable[str], see: str) -> None:
        known = list(known)
        counts = {0: f"no {noun} is installed", 1: f"1 {noun} is known"}
        count = counts.get(len(known), f"{len(known)} {noun}s are known")
        super().__init__(f"There is no {noun} {name!r} ({count}).{suggestion(name, known)} {see}")

    def __str__(self) -> str:  # KeyError would show the message's repr
        return str(self.args[0])


class UnknownProviderError(UsageError):
    """The distribution before the colon does not provide the name after it."""

    def __init__(self, noun: str, name: str, distribution: str, providers: Sequence[str], see: str) -> None:
        super().__init__(
            f"No {noun} {name!r} is provided by {distribution!r}. Write {_qualified(name, providers)}. {see}"
        )


class AmbiguousNameError(UsageError):
    """Two distributions, or one and this session, provide the same name."""

    def __init__(self, noun: str, name: str, providers: Sequence[str]) -> None:
        super().__init__(
            f"The {noun} {name!r} is provided by {' and by '.join(providers)}. Write {_qualified(name, providers)}."
        )


class AmbiguousAliasError(UsageError):
    """Two models or data sets have the same alias."""

    def __init__(self, noun: str, alias: str, names: Sequence[str]) -> None:
        super().__init__(f"{alias!r} is an alias of {len(names)} {noun}s. Write {either(names)}.")


class DuplicateNameError(UsageError):
    """The same name was registered twice in one session."""

    def __init__(self, noun: str, name: str, first: str, second: str) -> None:
        super().__init__(
            f"The {noun} {name!r} is registered already, by {first}; now {second} registers it again. "
            f"Rename one, or pass replace=True to replace the first."
        )


class DeclarationError(UsageError, TypeError):
    """A plugin author's declaration does not have the promised form."""


class UnknownOptionError(UsageError, TypeError):
    """An option that the model's builder does not have."""

    def __init__(self, model: str, unknown: Sequence[str], known: Iterable[str]) -> None:
        known = sorted(known)
        takes = f"It takes: {', '.join(known)}." if known else "It takes no options."
        names = ", ".join(repr(name) for name in unknown)
        super().__init__(f"{model} has no option {names}.{suggestion(unknown[0], known)} {takes}")


class InputShapeError(UsageError, ValueError):
    """An input shape that is malformed or too small for the model."""


class ModelBuildError(CnnRegistryError):
    """A builder failed, or returned something that is no model."""

    def __init__(self, model: str, what: str, cause: str) -> None:
        super().__init__(f"{model} could not be built {what}: {cause}")


class WeightsError(CnnRegistryError):
    """Weights that cannot be read, or that do not fit the model."""


class BrokenPluginError(CnnRegistryError):
    """A plugin that is installed but cannot be used."""

    def __init__(self, noun: str, name: str, blame: str, reason: str, details: str = "") -> None:
        self.details = details
        super().__init__(
            f"The {noun} {name!r} of {blame} is broken: {reason} "
            f"('cnnreg -v ...' shows the traceback; 'pip install --upgrade {blame}' may mend it.)"
        )


class BackendError(CnnRegistryError):
    """Keras or its backend cannot be imported or is not the one that is needed."""


class RecipeError(UsageError, ValueError):
    """A recipe, or an override of one, has an unknown key or a value out of range."""


class DataError(CnnRegistryError):
    """The images are missing, unreadable, or too few for what was asked."""


class BadImageError(DataError):
    """One image file that cannot be read."""

    def __init__(self, file: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{file} cannot be read as an image: {reason}.")


class DownloadError(DataError):
    """A data set could not be fetched, or what arrived is not what was expected."""


class TrainingError(CnnRegistryError):
    """Training could not go on."""


class DivergedError(TrainingError):
    """The loss or a weight is no finite number any more."""


class RunError(CnnRegistryError):
    """A run directory is missing, incomplete, or does not fit what is asked of it."""

    @classmethod
    def not_a_run(cls, path: Path) -> RunError:
        """For a path that holds no run."""
        return cls(f"{path} is no run directory: expected a 'run.json' in it, as 'cnnreg train' writes it.")
