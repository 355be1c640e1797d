"""The only place that imports Keras for the core, and that prepares TensorFlow right before its import."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from pathlib import Path
from typing import Any

from cnn_registry.errors import BackendError
from cnn_registry.system.garbage import importing
from cnn_registry.system.processors import usable_cpus
from cnn_registry.system.progress import working
from cnn_registry.system.quiet import quiet_matplotlib

_NATIVE_NOTE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")

PATIENCE = 3.0
"""Seconds after which the import has a line of its own; it takes 3 to 6 on most machines."""

INSTALL_HINT = "Install one with: pip install 'cnn-registry[cpu]' (or '[gpu]' for CUDA)."


def prepare() -> None:
    """Set what TensorFlow reads when it is imported; whatever the user has set stays.

    - ``TF_ENABLE_ONEDNN_OPTS=1``: off by default on CPUs with AVX2 only, where it makes a training step 1.15 to 1.45
      times faster.
    - ``TF_NUM_INTRAOP_THREADS``: one for each CPU this process may use. TensorFlow counts the machine's, which is more
      than a container or ``taskset`` grants.
    - ``TF_CPP_MIN_LOG_LEVEL=2``: warnings about the build do not concern the user's work.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(usable_cpus()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class _BeforeTensorflow(MetaPathFinder):
    """Finds nothing, and calls `prepare` when somebody looks for TensorFlow."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "tensorflow":
            prepare()


class _WhenUsed(MetaPathFinder):
    """Lets those modules of Keras wait for their first use that import scikit-learn, SciPy and Matplotlib.

    These take a quarter of the time in which Keras and TensorFlow are imported. A name that Keras no longer has does no
    harm.
    """

    NAMES = frozenset(
        f"{package}.{name}"
        for package in ("keras", "keras._tf_keras.keras", "keras.src")
        for name in ("visualization", "wrappers")
    )

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self.NAMES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def prepared_imports() -> Iterator[None]:
    """Within it, whoever imports TensorFlow finds its environment set, and imports no more of Keras than is used.

    Without such an import, nothing is changed.
    """
    finders = [_BeforeTensorflow(), _WhenUsed()]
    sys.meta_path[:0] = finders
    try:
        with importing():
            yield
    finally:
        for finder in finders:
            with suppress(ValueError):  # the code within may have replaced the list
                sys.meta_path.remove(finder)


def chosen_backend() -> str:
    """The backend that Keras runs on, or will once it is imported: ``"tensorflow"``, ``"jax"``, ``"torch"``, ...

    The user chooses it with ``KERAS_BACKEND`` or in ``keras.json``; Keras' default is TensorFlow. Nothing is imported.
    """
    if keras := sys.modules.get("keras"):
        with suppress(AttributeError):  # another thread is importing it
            return str(keras.config.backend())
    return os.environ.get("KERAS_BACKEND") or _configured_backend() or "tensorflow"


def _configured_backend() -> str:
    """The backend that ``keras.json`` names, or an empty string; Keras documents where the file is."""
    try:
        home = Path.home()
        folder = Path(os.environ.get("KERAS_HOME") or (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras")
        return str(json.loads((folder / "keras.json").expanduser().read_text(encoding="utf-8"))["backend"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return ""


def keras() -> Any:
    """The ``keras`` module on the backend that the user chose; before its first import, TensorFlow is prepared.

    Raises:
        BackendError: Keras or the chosen backend is not installed.
    """
    if sys.modules.get("keras"):
        return importlib.import_module("keras")
    wanted = chosen_backend()
    if importlib.util.find_spec(wanted) is None:
        hint = INSTALL_HINT if wanted == "tensorflow" else "Install it, or set KERAS_BACKEND=tensorflow."
        raise BackendError(f"Keras' backend {wanted!r} is not installed. {hint}")
    try:
        with (
            working(f"Importing Keras with {wanted}", after=PATIENCE),
            prepared_imports(),
            _without_native_notes(),
            quiet_matplotlib(),  # which Keras imports
        ):
            return importlib.import_module("keras")
    except ImportError as error:
        raise BackendError(f"Keras cannot be imported ({error}). {INSTALL_HINT}") from error


def require_tensorflow() -> None:
    """Refuse another backend than TensorFlow, which training and the input pipeline need. Nothing is imported.

    Raises:
        BackendError: the user chose another one.
    """
    if (chosen := chosen_backend()) != "tensorflow":
        raise BackendError(
            f"Training and evaluation need Keras on TensorFlow, but its backend is {chosen!r}. "
            f"Start Python with KERAS_BACKEND=tensorflow."
        )


def tensorflow() -> Any:
    """The ``tensorflow`` module, with Keras running on it: what training and the input pipeline need.

    Raises:
        BackendError: TensorFlow is not installed, or Keras runs on another backend.
    """
    require_tensorflow()
    keras()
    return importlib.import_module("tensorflow")


@contextmanager
def _without_native_notes() -> Iterator[None]:
    """Keep from standard error the notes that TensorFlow's native code writes there while it is imported.

    They come before its logging is set up, so that no log level reaches them, and only report that oneDNN is on.
    Anything else is passed on, and so is everything where the import fails.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or sys.stderr is None:
        yield
        return
    with tempfile.TemporaryFile() as notes, os.fdopen(os.dup(2), "wb", buffering=0) as stderr:
        with suppress(OSError, ValueError):  # nobody reads it
            sys.stderr.flush()
        os.dup2(notes.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(stderr.fileno(), 2)
            notes.seek(0)
            with suppress(OSError):
                stderr.writelines(line for line in notes if failed or not _NATIVE_NOTE.match(line))
