"""Which precision training steps should have on this machine."""

from __future__ import annotations

import os
from typing import Literal

from cnn_registry.system.processors import cpu_flags

from .environment import tensorflow

BFLOAT16, FLOAT16 = (8, 0), (7, 0)
"""NVIDIA's compute capabilities from which on a GPU multiplies these types faster than float32."""


def best_precision() -> Literal["float32", "bfloat16", "float16"]:
    """The type in which a training step is fastest on this machine with results that are as good."""
    config = tensorflow().config
    if not (gpus := config.list_physical_devices("GPU")):
        return "bfloat16" if computes_bfloat16() else "float32"
    capability = config.experimental.get_device_details(gpus[0]).get("compute_capability") or (0, 0)
    if capability >= BFLOAT16:
        return "bfloat16"
    return "float16" if capability >= FLOAT16 else "float32"


def computes_bfloat16() -> bool:
    """Whether training runs on a CPU that multiplies numbers of type bfloat16, at twice the speed of float32.

    CPUs with AVX-512 BF16 or AMX do, through oneDNN. Known on Linux only, and not where TensorFlow finds a GPU.
    """
    return _has_bfloat16() and not tensorflow().config.list_physical_devices("GPU")


def imitates_bfloat16() -> bool:
    """Whether training runs on a CPU that is known to lack instructions for bfloat16, so that float32 is far faster."""
    known = bool(cpu_flags())
    return known and not _has_bfloat16() and not tensorflow().config.list_physical_devices("GPU")


def _has_bfloat16() -> bool:
    instructions = cpu_flags() & {"avx512_bf16", "amx_bf16"}
    return bool(instructions) and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
