"""Which checks there are, and how they run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from cnn_registry.errors import UsageError, reason_of
from cnn_registry.registry.datasets import get_dataset_spec
from cnn_registry.registry.models import get_spec
from cnn_registry.registry.spec import DatasetSpec, ModelSpec
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.callers import warn_caller
from cnn_registry.text import suggestion

from . import data, declared, graphs, learning, outputs, recipe, saved, weights
from .expected import expected_failures, unexpected_pass
from .outcome import NOTHING, Check, CheckFailed, CheckResult, CheckSkipped, Outcome, failed
from .subject import Subject

OnFail = Literal["raise", "warn"]

LARGE = 30_000_000
"""Models with more parameters skip the expensive checks by default."""

MODEL_CHECKS: tuple[Check[Subject], ...] = (
    Check(declared.check_light_import),
    Check(declared.check_spec),
    Check(declared.check_docstring),
    Check(graphs.check_builds),
    Check(graphs.check_parameters),
    Check(graphs.check_macs),
    Check(graphs.check_sizes),
    Check(graphs.check_smallest),
    Check(graphs.check_classes),
    Check(graphs.check_channels),
    Check(graphs.check_options),
    Check(graphs.check_aux_heads),
    Check(graphs.check_features),
    Check(graphs.check_names),
    Check(graphs.check_no_lambda),
    Check(graphs.check_no_tensorflow),
    Check(weights.check_weights_table),
    Check(outputs.check_probabilities, cheap=False),
    Check(outputs.check_rows, cheap=False),
    Check(outputs.check_seed, cheap=False),
    Check(outputs.check_mixed_float16, cheap=False),
    Check(outputs.check_mixed_bfloat16, cheap=False),
    Check(learning.check_gradients, cheap=False),
    Check(learning.check_gradient_norm, cheap=False),
    Check(learning.check_learns, cheap=False),
    Check(recipe.check_trains, cheap=False),
    Check(saved.check_keras_file, cheap=False),
    Check(saved.check_weights_file, cheap=False),
    Check(saved.check_backends, cheap=False),
    Check(weights.check_weights_download, cheap=False, online=True),
)
"""The checks of a model, in the order in which they run."""

DATASET_CHECKS: tuple[Check[data.DataSubject], ...] = (
    Check(data.check_light_import),
    Check(data.check_spec),
    Check(data.check_docstring),
    Check(data.check_loads),
    Check(data.check_counts),
    Check(data.check_class_names),
    Check(data.check_labels),
    Check(data.check_order),
    Check(data.check_images),
    Check(data.check_splits),
)
"""The checks of a dataset, in the order in which they run."""


class _Held:
    """A subject that is made at the first request, and released at that for another one: networks are large."""

    latest: ClassVar[_Held | None] = None

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._subject = make, None

    def __call__(self) -> Any:
        if _Held.latest is not self:
            if _Held.latest:
                _Held.latest._subject = None
            _Held.latest = self
        self._subject = self._subject or self._make()
        return self._subject


@dataclass(frozen=True)
class BoundCheck:
    """A check of one model or dataset; calling it runs the check.

    Attributes:
        model: the name of the model or dataset.
        check: the check.
        subject: returns what is checked.
        full: whether it runs on models of any size, and may download.
    """

    model: str
    check: Check[Any]
    subject: Callable[[], Any]
    full: bool

    def __call__(self) -> None:
        """Run the check.

        Raises:
            CheckFailed: with what was expected, what came, and how to fix it.
            CheckSkipped: with the reason.
        """
        subject = self.subject()
        subject.causes.running = self.check.name
        if self.check.online and not self.full:
            raise CheckSkipped(f"it downloads; full=True, --full or --only {self.check.name} runs it")
        if not self.check.cheap and not self.full and subject.spec.total_params > LARGE:
            millions = f"{subject.spec.total_params / 1e6:.0f} million parameters"
            raise CheckSkipped(f"{millions} are more than {LARGE / 1e6:.0f}; full=True or --full checks it anyway")
        try:
            # Keras warns about unusual forms, such as a softmax with one class. These are not faults of the model.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.check.function(subject)
        except (CheckFailed, CheckSkipped):
            raise
        except Exception as error:  # the plugin's code, in whatever way it fails
            came = reason_of(error)
            failure = failed(
                f"that the check completes ({self.check.about.rstrip('.')})",
                came,
                "Fix what raises this. If the model does not have the form that is needed, correct its declaration.",
            )
            raise subject.causes.meet_error(error, failure) from error

    @property
    def expected_failure(self) -> str:
        """Why the package expects the check to fail, as its ``pyproject.toml`` says; empty if it does not.

        Raises:
            UsageError: what the file says of expected failures cannot be used.
        """
        spec = self.subject().spec
        checks = MODEL_CHECKS if isinstance(spec, ModelSpec) else DATASET_CHECKS
        return expected_failures(spec, [check.name for check in checks]).get(self.check.name, "")

    def result(self) -> CheckResult:
        """Run the check and return how it ended.

        Raises:
            UsageError: as `expected_failure`.
        """
        expected = self.expected_failure
        began = time.perf_counter()

        def ended(outcome: Outcome, message: str = "", declare: Mapping[str, int] = NOTHING) -> CheckResult:
            return CheckResult(
                self.model, self.check.name, outcome, message, time.perf_counter() - began, dict(declare)
            )

        try:
            self()
        except CheckFailed as failure:
            if expected:
                return ended("expected", expected)
            return ended("failed", str(failure), failure.declare)
        except CheckSkipped as skipped:
            return ended("skipped", str(skipped), skipped.declare)
        return ended("failed", unexpected_pass(expected)) if expected else ended("passed")


def model_checks(model: str | ModelSpec, *, only: Sequence[str] = (), full: bool = False) -> Iterator[BoundCheck]:
    """The checks of a model, to be run one by one; nothing is imported or built before the first runs.

    Args:
        model: a name as for `create_model`, or a spec.
        only: names of checks; default all.
        full: also run the expensive ones on large models, and those that download.

    Raises:
        UsageError: there is no such check.
    """
    name = model if isinstance(model, str) else model.name
    subject = _Held(lambda: Subject(get_spec(model) if isinstance(model, str) else model))
    for check in _chosen(MODEL_CHECKS, only):
        yield BoundCheck(name, check, subject, full or (check.online and check.name in only))


def dataset_checks(
    dataset: str | DatasetSpec, source: Path | None = None, *, only: Sequence[str] = ()
) -> Iterator[BoundCheck]:
    """The checks of a dataset; ``source`` and the name are as for `train`."""
    name = dataset if isinstance(dataset, str) else dataset.name

    def subject() -> data.DataSubject:
        return data.DataSubject(get_dataset_spec(dataset) if isinstance(dataset, str) else dataset, source)

    held = _Held(subject)
    for check in _chosen(DATASET_CHECKS, only):
        yield BoundCheck(name, check, held, full=True)


def _chosen(checks: tuple[Check[Any], ...], only: Sequence[str]) -> list[Check[Any]]:
    known = [check.name for check in checks]
    if unknown := [name for name in only if name not in known]:
        hint = suggestion(unknown[0], known)
        raise UsageError(f"There is no check {unknown[0]!r}.{hint} There are: {', '.join(known)}.")
    return [check for check in checks if not only or check.name in only]


@checked_arguments
def check_model(
    model: str | ModelSpec, on_fail: OnFail | None = "raise", *, only: Sequence[str] = (), full: bool = False
) -> list[CheckResult]:
    """Check that a model keeps what its plugin promises.

    Args:
        model: a name as for `create_model`, or a spec.
        on_fail: ``"raise"`` at the first failure, ``"warn"`` at each, or ``None`` to leave it to the caller.
        only: names of checks; default all.
        full: also run the expensive checks on models with more than 30 million parameters, and those that download.

    Returns:
        How each check ended, in the order in which they ran.

    Raises:
        CheckFailed: a check failed, and ``on_fail`` is ``"raise"``.
        UsageError: there is no such model or check, or ``on_fail`` has another value.
    """
    return _results(model_checks(model, only=only, full=full), on_fail)


@checked_arguments
def check_dataset(
    dataset: str | DatasetSpec, data: Path | str | None = None, on_fail: OnFail | None = "raise"
) -> list[CheckResult]:
    """Check that a dataset keeps what its plugin promises.

    Args:
        dataset: a name, or a spec.
        data: an archive or a folder that holds it; by default the dataset finds or downloads its own.
        on_fail: as for `check_model`.

    Returns:
        How each check ended, in the order in which they ran.

    Raises:
        CheckFailed: a check failed, and ``on_fail`` is ``"raise"``.
        UsageError: there is no such dataset, or ``on_fail`` has another value.
    """
    return _results(dataset_checks(dataset, None if data is None else Path(data)), on_fail)


def _results(checks: Iterable[BoundCheck], on_fail: OnFail | None) -> list[CheckResult]:
    results = []
    for check in checks:
        results.append(check.result())
        if results[-1].outcome == "failed":
            if on_fail == "raise":
                raise CheckFailed(results[-1].line)
            if on_fail == "warn":
                warn_caller(results[-1].line, UserWarning)
    return results
