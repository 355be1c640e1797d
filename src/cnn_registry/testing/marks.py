"""The checks as pytest tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cnn_registry.errors import UsageError
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.text import suggestion

from .checks import BoundCheck, model_checks
from .expected import unexpected_pass
from .outcome import CheckFailed, CheckSkipped

if TYPE_CHECKING:
    import pytest


@checked_arguments
def parametrize_with_checks(
    names: Iterable[str | ModelSpec],
    *,
    expected_failures: Mapping[str, Mapping[str, str]] | None = None,
    only: Sequence[str] = (),
    full: bool = False,
) -> pytest.MarkDecorator:
    """Run a test with the argument ``check`` once for each check of each model; its body is ``check()``.

    The tests' ids are ``<model>-<check>``, for instance ``resnet18-gradients``.

    Args:
        names: names of models, or specs.
        expected_failures: reasons by model and check, ``{"mynet": {"learns": "needs a thousand steps"}}``. The test is
            expected to fail, and fails if the check passes. Reasons in the package's ``pyproject.toml``, under
            ``[tool.cnnreg.expected_failures.mynet]``, have the same effect, also for ``cnnreg check``.
        only: names of checks; default all.
        full: also run the expensive checks on models with more than 30 million parameters.

    Returns:
        A decorator of the test.

    Raises:
        UsageError: ``only`` names an unknown check, or ``expected_failures`` a model or check that does not run.
    """
    import pytest

    expected = {name: dict(reasons) for name, reasons in (expected_failures or {}).items()}
    parameters = []
    for name in names:
        for check in model_checks(name, only=only, full=full):
            reason = expected.get(check.model, {}).pop(check.check.name, None)
            marks = () if reason is None else pytest.mark.xfail(reason=reason, strict=True)
            parameters.append(pytest.param(_as_test(check), id=f"{check.model}-{check.check.name}", marks=marks))
    known = {parameter.id for parameter in parameters}
    for name, left in expected.items():
        for check_name in left:
            hint = suggestion(f"{name}-{check_name}", map(str, known))
            raise UsageError(f"expected_failures: there is no check {check_name!r} of {name!r}.{hint}")
    return pytest.mark.parametrize("check", parameters)


def _as_test(check: BoundCheck) -> Callable[[], None]:
    def run() -> None:
        import pytest

        expected = check.expected_failure
        try:
            check()
        except CheckSkipped as skipped:
            pytest.skip(str(skipped))
        except CheckFailed:
            if not expected:
                raise
            pytest.xfail(expected)
        if expected:
            raise CheckFailed(unexpected_pass(expected))

    return run
