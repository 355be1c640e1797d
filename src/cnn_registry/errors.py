"""Every error that a user can meet, each with a one-line message.

A message says what was expected, what came, and what to do. Plugins also raise these errors, most often `UsageError`
and `DataError`; users then see the message unchanged. All of them can be pickled, so they pass between processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_registry.text import (
    LONGEST_NAME,
    either,
    one_line,
    printable,
    quoted,
    shorten,
    suggestion,
    unstopped,
    without_addresses,
)

__all__ = [
    "AmbiguousAliasError",
    "AmbiguousNameError",
    "BackendError",
    "BadImageError",
    "BrokenPluginError",
    "ClusterError",
    "CnnRegistryError",
    "DataError",
    "DeclarationError",
    "DivergedError",
    "DownloadError",
    "DuplicateNameError",
    "ExportError",
    "InputShapeError",
    "MissingPackageError",
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
    """Base of every error that this package raises on purpose. The message is one line that any terminal can show.

    Attributes:
        exit_code: what ``cnnreg`` exits with: 1 if the work failed, 2 if the request was wrong.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(without_addresses(message)))

    def __reduce__(self) -> tuple[Any, ...]:  # Exception's own calls the class with the message alone
        return _restored, (type(self), self.args, vars(self))


def reason_of(error: BaseException) -> str:
    """What went wrong, as a part of a sentence: the message of an error of this package, a line for any other."""
    return unstopped(str(error)) if isinstance(error, CnnRegistryError) else one_line(error)


def _restored(
    kind: type[CnnRegistryError], args: tuple[object, ...], attributes: Mapping[str, object]
) -> CnnRegistryError:
    """The error that was pickled, without calling its ``__init__`` again."""
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class UsageError(CnnRegistryError):
    """The request is wrong: a name, an option or a value. Nothing was done."""

    exit_code = 2


class UnknownNameError(UsageError, KeyError):
    """No model, dataset or recipe has this name."""

    def __init__(self, noun: str, name: str, known: Iterable[str], see: str) -> None:
        known = list(known)
        counts = {0: f"no {noun} is installed", 1: f"1 {noun} is known"}
        count = counts.get(len(known), f"{len(known)} {noun}s are known")
        super().__init__(f"There is no {noun} {quoted(name)} ({count}).{suggestion(name, known)} {see}")

    def __str__(self) -> str:  # KeyError would show the message's repr
        return str(self.args[0])


class UnknownProviderError(UsageError):
    """The distribution before the colon does not provide the name after it."""

    def __init__(self, noun: str, name: str, distribution: str, providers: Sequence[str], see: str) -> None:
        super().__init__(
            f"No {noun} {quoted(name)} is provided by {quoted(distribution)}. Write {_qualified(name, providers)}. "
            f"{see}"
        )


class AmbiguousNameError(UsageError):
    """Two distributions, or one and this session, provide the same name."""

    def __init__(self, noun: str, name: str, providers: Sequence[str]) -> None:
        super().__init__(
            f"The {noun} {quoted(name)} is provided by {' and by '.join(providers)}. Write "
            f"{_qualified(name, providers)}."
        )


class AmbiguousAliasError(UsageError):
    """Two models or datasets have the same alias."""

    def __init__(self, noun: str, alias: str, names: Sequence[str]) -> None:
        super().__init__(f"{quoted(alias)} is an alias of {len(names)} {noun}s. Write {either(names)}.")


class DuplicateNameError(UsageError):
    """The same name was registered twice in one session."""

    def __init__(self, noun: str, name: str, first: str, second: str) -> None:
        super().__init__(
            f"The {noun} {quoted(name)} is already registered by {first}, and {second} registers it again. "
            f"Rename one, or pass replace=True to replace the first."
        )


class DeclarationError(UsageError, TypeError):
    """The declaration of a model or a dataset does not have the required form."""


class UnknownOptionError(UsageError, TypeError):
    """The model's builder does not have this option."""

    def __init__(self, model: str, unknown: Sequence[str], known: Iterable[str]) -> None:
        known = sorted(known)
        takes = f"It takes: {', '.join(known)}." if known else "It takes no options."
        names = ", ".join(repr(name) for name in unknown)
        super().__init__(f"{model} has no option {names}.{suggestion(unknown[0], known)} {takes}")


class InputShapeError(UsageError, ValueError):
    """The input shape is malformed, or too small for the model."""


class ModelBuildError(CnnRegistryError):
    """The model's builder failed, or returned something other than the model that was asked for.

    Attributes:
        cause: what went wrong, without the model's name and what was asked for.
    """

    def __init__(self, model: str, what: str, cause: str) -> None:
        self.cause = cause
        super().__init__(f"{model} could not be built {what}: {cause}")


class WeightsError(CnnRegistryError):
    """The weights cannot be read, or do not fit the model."""


class BrokenPluginError(CnnRegistryError):
    """A plugin is installed but cannot be used.

    Attributes:
        details: the traceback of the plugin's failure, or an empty string.
    """

    def __init__(self, noun: str, name: str, blame: str, reason: str, details: str = "") -> None:
        self.details = details
        super().__init__(
            f"The {noun} {quoted(name)} of {blame} is broken: {reason} "
            f"('cnnreg -v ...' shows the traceback; 'pip install --upgrade {blame}' may fix it.)"
        )


class BackendError(CnnRegistryError):
    """Keras or its backend cannot be imported, or the backend is not the one that is needed."""


class MissingPackageError(CnnRegistryError, ImportError):
    """A package that this work needs is not installed, or cannot be imported."""

    def __init__(
        self, what: str, packages: Sequence[str], extra: str = "", *, install: str = "", reason: str = ""
    ) -> None:
        verb = "is" if len(packages) == 1 else "are"
        fault = f"cannot be imported ({reason})" if reason else f"{verb} not installed"
        wanted = install or f"'cnn-registry[{extra}]'"
        super().__init__(
            f"{what} needs {' and '.join(filter(None, [', '.join(packages[:-1]), packages[-1]]))}, which {fault}. "
            f"Install with: pip install {wanted}"
        )


class RecipeError(UsageError, ValueError):
    """A recipe, or a setting that overrides it, has an unknown key or a value out of range."""


class DataError(CnnRegistryError):
    """The images are missing, unreadable, or too few."""


class BadImageError(DataError):
    """An image file cannot be read.

    Attributes:
        reason: why not, without the file's name.
    """

    def __init__(self, file: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{file} cannot be read as an image: {reason}.")


class DownloadError(DataError):
    """A file could not be downloaded, or its content is not what was expected."""


class HubError(DownloadError):
    """A hub of models cannot be reached, refuses, or holds something else than what was expected.

    Attributes:
        is_offline: whether it could not be reached at all.
        missing: what it does not have: ``"repository"``, ``"revision"``, or an empty string.
    """

    is_offline: bool = False
    missing: str = ""


class TrainingError(CnnRegistryError):
    """Training could not continue."""


class DivergedError(TrainingError):
    """The loss or a weight is no longer finite."""


class ClusterError(TrainingError):
    """Another worker of the same training has failed, has ended, or cannot be reached."""


class ExportError(CnnRegistryError):
    """A network could not be exported, or its export does not predict what the network predicts.

    Attributes:
        details: the traceback and the output of the converter, or an empty string.
    """

    def __init__(self, message: str, details: str = "") -> None:
        self.details = details
        super().__init__(message)


class RunError(CnnRegistryError):
    """A run directory is missing, incomplete, or does not fit what is asked of it."""

    @classmethod
    def not_a_run(cls, path: Path) -> RunError:
        """The error for a ``path`` without a run."""
        name = shorten(str(path), LONGEST_NAME)
        return cls(f"{name} is not a run directory (no run.json found). Name one that 'cnnreg train' made.")


def _qualified(name: str, providers: Iterable[str]) -> str:
    return either(f"{provider}:{name}" for provider in providers)
