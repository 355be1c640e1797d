"""The only place that imports Keras for the core, and that prepares TensorFlow before its import."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cnn_registry.errors import BackendError

from .processors import usable_cpus

_NATIVE_NOTE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")

INSTALL_HINT = "Install one with: pip install 'cnn-registry[cpu]' (or '[gpu]' for CUDA)."


def prepare() -> None:
    """Set what TensorFlow reads when it is imported; whatever the user has set stays.

    - ``TF_ENABLE_ONEDNN_OPTS=1``: off by default on processors with AVX2 only, where it makes a training step
      1.15 to 1.45 times faster.
    - ``TF_NUM_INTRAOP_THREADS``: one for each processor this process may use. TensorFlow counts the machine's, which
      is more than a container or ``taskset`` grants.
    - ``TF_CPP_MIN_LOG_LEVEL=2``: warnings about the build are not about the user's work.
    - ``KERAS_BACKEND=tensorflow``.
    """
    os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"  # Keras too takes empty as unset
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(usable_cpus()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def keras() -> Any:
    """The ``keras`` module on a prepared backend.

    Raises:
        BackendError: Keras, or the backend that ``KERAS_BACKEND`` names, is not installed.
    """
    prepare()
    wanted = os.environ["KERAS_BACKEND"]
    if "keras" not in sys.modules and importlib.util.find_spec(wanted) is None:
        raise BackendError(f"Keras' backend {wanted!r} is not installed. {INSTALL_HINT}")
    try:
        with _without_native_notes():
            return importlib.import_module("keras")
    except ImportError as error:
        raise BackendError(f"Keras cannot be imported ({error}). {INSTALL_HINT}") from error


def tensorflow() -> Any:
    """The ``tensorflow`` module, with Keras running on it: what training and the input pipeline need.

    Raises:
        BackendError: TensorFlow is not installed, or Keras runs on another backend.
    """
    running = keras().backend.backend()
    if running != "tensorflow":
        raise BackendError(f"Training needs Keras on TensorFlow, but KERAS_BACKEND is {running!r}. Unset it.")
    return importlib.import_module("tensorflow")


@contextmanager
def _without_native_notes() -> Iterator[None]:
    """Keep from standard error the notes that TensorFlow's native code writes there while it is imported.

    They come before its logging is set up, so that no log level reaches them, and say no more than that oneDNN is
    on. Anything else is passed on, and so is everything where the import fails.
    """
    if "keras" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
        yield
        return
    with tempfile.TemporaryFile() as notes, os.fdopen(os.dup(2), "wb") as stderr:
        sys.stderr.flush()
        os.dup2(notes.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(stderr.fileno(), 2)
            notes.seek(0)
            stderr.writelines(line for line in notes if failed or not _NATIVE_NOTE.match(line))
