"""Which precision training steps should have on this machine."""

from __future__ import annotations

import os

from .environment import tensorflow
from .processors import cpu_flags


def computes_bfloat16() -> bool:
    """Whether training runs on a CPU that multiplies numbers of type bfloat16, at twice the speed of float32.

    CPUs with AVX-512 BF16 or AMX do, through oneDNN. Known on Linux only, and not where TensorFlow finds a GPU.
    """
    if not cpu_flags() & {"avx512_bf16", "amx_bf16"} or os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return False
    return not tensorflow().config.list_physical_devices("GPU")
