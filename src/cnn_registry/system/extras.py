"""Packages that only some of the work needs, and that an extra of this package installs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from cnn_registry.errors import MissingPackageError

TRAIN = "train"
"""The extra for training and evaluation. ``cpu`` and ``gpu`` contain it."""

DISTRIBUTIONS = {"jinja2": "Jinja2", "matplotlib": "matplotlib", "scipy": "SciPy", "sklearn": "scikit-learn"}
"""What to call the distributions of the modules that `TRAIN` installs."""


def need(what: str, *modules: str, extra: str = TRAIN, distributions: Mapping[str, str] = DISTRIBUTIONS) -> None:
    """Refuse work before it starts if a package that it needs is not installed.

    Args:
        what: the work, as the subject of a sentence: ``"Training"``.
        modules: keys of ``distributions``.
        extra: the extra that installs them.
        distributions: what to call the distributions of its modules.

    Raises:
        MissingPackageError: one or more of them are not installed.
    """
    if missing := [distributions[module] for module in modules if not _is_installed(module)]:
        raise MissingPackageError(what, missing, extra)


def need_arrow() -> tuple[Any, Any]:
    """pyarrow and its module for Parquet.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError("Parquet", ["pyarrow"], "parquet") from error
    return pyarrow, pyarrow.parquet


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # something else answers for it, or it is partly imported
        return False
