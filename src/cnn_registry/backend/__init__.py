"""Keras and TensorFlow: how they are prepared and imported, and what the machine offers them."""

from cnn_registry.system.processors import cpu_flags, usable_cpus

from .environment import (
    chosen_backend,
    keras,
    prepare,
    prepared_imports,
    require_tensorflow,
    tensorflow,
)
from .limits import computes_in_main_memory, is_lack_of_memory, memory_limit
from .memory import forget
from .precision import best_precision, computes_bfloat16, imitates_bfloat16
from .process import deterministic, process_kept
from .settings import standard_settings

__all__ = [
    "best_precision",
    "chosen_backend",
    "computes_bfloat16",
    "computes_in_main_memory",
    "cpu_flags",
    "deterministic",
    "forget",
    "imitates_bfloat16",
    "is_lack_of_memory",
    "keras",
    "memory_limit",
    "prepare",
    "prepared_imports",
    "process_kept",
    "require_tensorflow",
    "standard_settings",
    "tensorflow",
    "usable_cpus",
]
