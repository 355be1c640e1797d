"""How much memory this process may use, which in a container is less than the machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from cnn_registry.system.cgroups import own_groups

from .environment import keras, tensorflow


def memory_limit() -> int:
    """Bytes of memory that this process may use.

    The smallest of the machine's memory, the limits of the control groups (versions 1 and 2) that the process is in, as
    containers and job schedulers set them, and what ``ulimit -v`` and ``ulimit -d`` leave of it.
    """
    import psutil

    return min([psutil.virtual_memory().total, *_cgroup_limits(), *_resource_limits()])


def computes_in_main_memory() -> bool:
    """Whether networks lie in the memory of `memory_limit`: not where there is a GPU, nor where that is not known."""
    return keras().config.backend() == "tensorflow" and not tensorflow().config.list_physical_devices("GPU")


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in Python, in NumPy or in TensorFlow."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def _cgroup_limits() -> Iterator[int]:
    for group in own_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" means that there is no limit
                yield int((group / name).read_text(encoding="ascii"))


def _resource_limits() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows has none
        return
    import psutil

    used = psutil.Process().memory_info()
    for kind, held in ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, getattr(used, "data", used.rss))):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield max(0, soft - held)
