"""Conversion by Keras and by the formats' own packages, without their output and their changes to the process.

Converters use private functions of Keras and TensorFlow, and may fail for a network or after an upgrade. Whatever they
raise becomes one line here.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.errors import ExportError
from cnn_registry.system.progress import working
from cnn_registry.system.stdout import stdout_to_stderr

from .network import Job, with_preprocessing

_one_at_a_time = threading.RLock()
"""Held while output is hidden: of two threads that overlap, each would restore what it found, the other's changes."""

TELEMETRY = "openvino_telemetry"
"""The package through which OpenVINO and NNCF report their use over the network."""


def export_with_keras(job: Job, path: Path, kind: str, **options: Any) -> None:
    """Write the network with its preprocessing by ``keras.Model.export``.

    Args:
        job: what to write.
        path: the file.
        kind: Keras' name for the format.
        options: as ``keras.Model.export`` takes for that format.
    """
    network = with_preprocessing(job.network, job.form.shape, job.pixels)
    network(np.zeros((1, *job.form.shape), np.uint8))  # Keras exports what was called
    network.export(str(path), format=kind, verbose=False, **options)


@contextmanager
def converting(title: str, model: str) -> Iterator[None]:
    """Within it a converter works: its output is hidden, and the process is as before afterwards.

    Args:
        title: the format, for messages.
        model: the network's name, for messages.

    Raises:
        ExportError: whatever the converter raises, in one line; ``details`` has its traceback and its output.
    """
    with tempfile.TemporaryFile() as log, working(f"Converting {model} to {title}"):
        try:
            with hidden_output(log.fileno()), _process_unchanged():
                yield
        except ExportError:
            raise
        except Exception as error:
            log.seek(0)
            printed = log.read().decode(errors="replace")
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ExportError(
                f"{model} could not be converted to {title}: {type(error).__name__}: {reason}",
                details=f"{traceback.format_exc()}{printed}",
            ) from error


@contextmanager
def hidden_output(descriptor: int | None = None) -> Iterator[None]:
    """Send to a file descriptor, or nowhere, what Python and native code print within.

    Another thread that wants the same waits.
    """
    with _one_at_a_time, ExitStack() as stack:
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, level)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(stdout_to_stderr())
        if descriptor is None:
            descriptor = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, descriptor)
        if sys.stderr is not None:
            sys.stderr.flush()
            before = os.dup(2)
            os.dup2(descriptor, 2)
            stack.callback(os.close, before)
            stack.callback(os.dup2, before, 2)
            stack.callback(sys.stderr.flush)
        yield


@contextmanager
def _process_unchanged() -> Iterator[None]:
    """Undo what packages change: environment variables, and the alias ``numpy.object`` that tf2onnx needs.

    Their first log record also gives the root logger a handler, with which `logging.basicConfig` would do nothing.
    """
    environment, handlers = dict(os.environ), list(logging.root.handlers)
    has_alias = "object" in vars(np)
    if not has_alias:
        np.object = object  # type: ignore[attr-defined]  # Keras adds it also, once per process
    try:
        yield
    finally:
        if not has_alias:
            vars(np).pop("object", None)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for handler in set(logging.root.handlers).difference(handlers):
            logging.root.removeHandler(handler)


def without_telemetry(module: str) -> Any:
    """OpenVINO's or NNCF's ``module``, whose first import reports nothing over the network.

    They use a stub where the package that reports is missing.
    """
    if module not in sys.modules and TELEMETRY not in sys.modules:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's mark of what cannot be imported
        try:
            importlib.import_module(module)
        finally:
            del sys.modules[TELEMETRY]
    return importlib.import_module(module)
