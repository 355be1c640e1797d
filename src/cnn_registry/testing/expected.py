"""Failures that a package expects, as its ``pyproject.toml`` declares them::

[tool.cnnreg.expected_failures.mynet]
learns = "needs a warm-up"
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cnn_registry.errors import UsageError
from cnn_registry.registry.discovery import DATASETS, MODELS
from cnn_registry.registry.policy import normalised
from cnn_registry.registry.spec import Spec
from cnn_registry.text import suggestion


def unexpected_pass(reason: str) -> str:
    """The message of a check that passes though it is expected to fail for ``reason``."""
    return f"expected a failure ({reason}); it passes. Remove it from the expected failures."


def expected_failures(spec: Spec, checks: Collection[str]) -> Mapping[str, str]:
    """The reasons by the names of checks; empty for a package without a ``pyproject.toml``, such as a wheel.

    Args:
        spec: the model or dataset.
        checks: the names of all checks of its kind.

    Raises:
        UsageError: the file is not valid TOML, or names an unknown model, dataset or check.
    """
    found = _project(spec)
    if found is None:
        return {}
    path, project = found
    what = f"[tool.cnnreg.expected_failures] in {path}"
    declared = project.get("tool", {}).get("cnnreg", {}).get("expected_failures", {})
    if not isinstance(declared, dict) or not all(isinstance(reasons, dict) for reasons in declared.values()):
        raise UsageError(f"{what} must have a table for each model, with a reason for each check.")
    points = project["project"].get("entry-points", {})
    provided = {name for group in (MODELS, DATASETS) for name in points.get(group, {})} | {spec.name}
    if unknown := [name for name in declared if name not in provided]:
        raise UsageError(f"{what}: the package does not provide {unknown[0]!r}.{suggestion(unknown[0], provided)}")
    reasons = declared.get(spec.name, {})
    for name, reason in reasons.items():
        if name not in checks:
            raise UsageError(f"{what}: there is no check {name!r}.{suggestion(name, checks)}")
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(f"{what}: the reason for {spec.name}.{name} must be a text that is not empty.")
    return dict(reasons)


def _project(spec: Spec) -> tuple[Path, dict[str, Any]] | None:
    """The nearest ``pyproject.toml`` above the declaring module, with its content, if it is that of the package."""
    source = inspect.getsourcefile(inspect.unwrap(spec.build))
    if source is None or spec.provider.distribution is None:
        return None
    path = next((path for folder in Path(source).parents if (path := folder / "pyproject.toml").is_file()), None)
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    project = content.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    is_own = isinstance(name, str) and normalised(name) == normalised(spec.provider.distribution)
    return (path, content) if is_own else None
