"""Keras and TensorFlow: how they are prepared and imported, and what the machine offers them."""

from .environment import (
    INSTALL_HINT,
    chosen_backend,
    keras,
    prepare,
    prepared_imports,
    require_tensorflow,
    tensorflow,
)
from .memory import forget
from .precision import computes_bfloat16
from .processors import cpu_flags, usable_cpus

__all__ = [
    "INSTALL_HINT",
    "chosen_backend",
    "computes_bfloat16",
    "cpu_flags",
    "forget",
    "keras",
    "prepare",
    "prepared_imports",
    "require_tensorflow",
    "tensorflow",
    "usable_cpus",
]
