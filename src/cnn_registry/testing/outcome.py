"""What a check is, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

from cnn_registry.errors import CnnRegistryError, ModelBuildError
from cnn_registry.text import one_line

T = TypeVar("T")

Outcome = Literal["passed", "failed", "expected", "skipped"]

NOTHING: Mapping[str, int] = MappingProxyType({})


class CheckFailed(CnnRegistryError):  # noqa: N818  (beside CheckSkipped)
    """A model or dataset does not keep what its plugin promises.

    Attributes:
        declare: arguments of ``register_model`` with the values that would be right, as far as the check found them.
    """

    def __init__(self, message: str, declare: Mapping[str, int] = NOTHING) -> None:
        super().__init__(message)
        self.declare = dict(declare)


def failed(expected: str, came: str, fix: str, declare: Mapping[str, int] = NOTHING) -> CheckFailed:
    """The error that says what was expected, what came, and how it is usually fixed."""
    came = came.rstrip(".")
    return CheckFailed(f"expected {expected}; got {came}{'' if came.endswith('?') else '.'} {fix}", declare)


class CheckSkipped(Exception):  # noqa: N818  (no error)
    """A check does not apply here; the message gives the reason.

    Attributes:
        declare: as for `CheckFailed`, where it is skipped because nothing is declared.
    """

    def __init__(self, message: str, declare: Mapping[str, int] = NOTHING) -> None:
        super().__init__(message)
        self.declare = dict(declare)


class Causes:
    """What keeps several checks from running. The first check that meets a cause fails; the others are skipped.

    Attributes:
        running: the name of the check that is running.
    """

    def __init__(self) -> None:
        self.running = ""
        self._reported: dict[str, str] = {}

    def meet(self, what: str, failure: CheckFailed) -> CheckFailed | CheckSkipped:
        """What to raise for the cause ``what``, in a few words: ``failure`` unless another check reports it."""
        cause = re.sub(r"\d+", "0", what)  # another size or number of classes is the same cause
        reporting = self._reported.setdefault(cause, self.running)
        if reporting == self.running:
            return failure
        return CheckSkipped(f"{what.rstrip('.')}, as the check {reporting} reports")

    def meet_error(self, error: Exception, failure: CheckFailed) -> CheckFailed | CheckSkipped:
        """What to raise for an exception of the plugin's code. The first error of a chain is the cause."""
        first: BaseException = error
        while first.__cause__:
            first = first.__cause__
        return self.meet(first.cause if isinstance(first, ModelBuildError) else one_line(first), failure)


@dataclass(frozen=True)
class Check(Generic[T]):
    """One named check.

    Attributes:
        function: examines its subject and returns, or raises `CheckFailed` or `CheckSkipped`. Its name without
            ``check_`` is the check's name; the first line of its docstring says what is checked.
        cheap: it only builds graphs, so it runs on models of any size.
        online: it downloads, so it runs only if it is named or every check is asked for.
    """

    function: Callable[[T], None]
    cheap: bool = True
    online: bool = False

    @property
    def name(self) -> str:
        """The check's name, for instance ``"light-import"``."""
        return self.function.__name__.removeprefix("check_").replace("_", "-")

    @property
    def about(self) -> str:
        """What is checked, in one line."""
        return (self.function.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True)
class CheckResult:
    """How one check of one model or dataset ended.

    Attributes:
        model: the name of the model or dataset.
        check: the name of the check.
        outcome: ``"passed"``, ``"failed"``, ``"expected"`` (it failed, as the package's ``pyproject.toml`` expects) or
            ``"skipped"``.
        message: what was expected, what came and how to fix it; or why the check was skipped, or was expected to fail;
            empty if it passed.
        seconds: the time it took. Networks are built once, by the first check that needs them.
        declare: arguments of ``register_model`` with the values that would be right, as far as the check found them.
    """

    model: str
    check: str
    outcome: Outcome
    message: str
    seconds: float
    declare: Mapping[str, int] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The whole result in one line."""
        return f"{self.model}: {self.check} {self.outcome}" + (f": {self.message}" if self.message else "")
