"""The machine and the library versions that a result depends on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from cnn_registry import backend

from .record import ProcessRecord

LIBRARIES = ("cnn-registry", "keras", "tensorflow", "tensorflow-cpu", "numpy", "pillow", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def training_process() -> ProcessRecord:
    """This process, as a run records it."""
    return ProcessRecord(host=platform.node()[:300], pid=os.getpid())


def machine() -> dict[str, Any]:
    """What the run's speed depends on; memory in bytes."""
    import psutil

    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": backend.usable_cpus(),
        "memory": psutil.virtual_memory().total,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
    }
