"""What a check is, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from cnn_registry.errors import CnnRegistryError

T = TypeVar("T")

Outcome = Literal["passed", "failed", "skipped"]


class CheckFailed(CnnRegistryError):  # noqa: N818  (beside CheckSkipped)
    """A model or a data set is not what it should be."""


def failed(expected: str, came: str, mend: str) -> CheckFailed:
    """The error that says what was expected, what came, and how it is usually mended."""
    return CheckFailed(f"expected {expected}; got {came}. {mend}")


class CheckSkipped(Exception):  # noqa: N818  (no error)
    """A check does not apply here; the message says why."""


@dataclass(frozen=True)
class Check(Generic[T]):
    """One named check.

    Attributes:
        function: looks at its subject and returns, or raises `CheckFailed` or `CheckSkipped`. Its name without
            ``check_`` is the check's name, the first line of its docstring says what is checked.
        cheap: it builds no more than graphs, and so is made of models of any size.
    """

    function: Callable[[T], None]
    cheap: bool = True

    @property
    def name(self) -> str:
        """For instance ``"light-import"``."""
        return self.function.__name__.removeprefix("check_").replace("_", "-")

    @property
    def about(self) -> str:
        """What is checked, in one line."""
        return (self.function.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True)
class CheckResult:
    """How one check of one model or data set ended.

    Attributes:
        model: the name of the model or data set.
        check: the name of the check.
        outcome: ``"passed"``, ``"failed"`` or ``"skipped"``.
        message: what was expected, what came and how it is mended; or why the check was skipped; empty if it passed.
        seconds: what it took. Networks are built once, by the first check that needs them.
    """

    model: str
    check: str
    outcome: Outcome
    message: str
    seconds: float

    @property
    def line(self) -> str:
        """The result as one line that tells everything."""
        return f"{self.model}: {self.check} {self.outcome}" + (f": {self.message}" if self.message else "")
