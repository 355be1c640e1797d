"""The only place that imports Keras for the core, and that prepares TensorFlow before its import."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import BackendError

_NATIVE_NOTE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")

CPUINFO = Path("/proc/cpuinfo")
"""What Linux tells of the processors."""

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


def usable_cpus() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags() -> frozenset[str]:
    """What the processor can do, in Linux' words for it (``"avx2"``); nothing where it is not told."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split()) for line in lines if line.startswith("flags")), frozenset())


def computes_bfloat16() -> bool:
    """Whether training runs on a processor that multiplies numbers of type bfloat16, at twice the speed of float32.

    Processors with AVX-512 BF16 or AMX do, through oneDNN. Known on Linux only, and not where TensorFlow finds a GPU.
    """
    prepare()
    if not cpu_flags() & {"avx512_bf16", "amx_bf16"} or os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0":
        return False
    return not tensorflow().config.list_physical_devices("GPU")


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


def forget(variables: Iterable[Any]) -> None:
    """Give back the memory of Keras variables that nobody will read again.

    TensorFlow keeps a traced step, and all variables in it, for as long as the process lives, whatever else is
    deleted: with Adam four times the size of a network for each that a process has trained. On other backends variables
    go with their network, and nothing is done.
    """
    if keras().backend.backend() != "tensorflow":
        return
    raw_ops = tensorflow().raw_ops
    nothing: dict[Any, Any] = {}
    for variable in variables:
        handle, dtype = variable.value.handle, variable.value.dtype
        nothing.setdefault(dtype, tensorflow().zeros([0], dtype))
        raw_ops.AssignVariableOp(resource=handle, value=nothing[dtype])


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
