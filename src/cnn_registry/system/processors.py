"""What the CPUs can do, and how many of them this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .cgroups import own_groups

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux describes the CPUs."""


def usable_cpus() -> int:
    """How many CPUs this process may use: those it may run on, or fewer if its container has a quota of their time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """The CPUs whose time the control groups of this process may use, of each that has a limit."""
    for group in own_groups("cpu"):
        with suppress(OSError, ValueError):  # "max" means that there is no limit
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):  # of version 1
            limit = [int((group / f"cpu.cfs_{what}_us").read_text(encoding="ascii")) for what in ("quota", "period")]
            if limit[0] > 0:
                yield limit[0] / limit[1]


def cpu_flags() -> frozenset[str]:
    """What the CPU can do, as Linux names it (``"avx2"``); empty where that is unknown."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split()) for line in lines if line.startswith("flags")), frozenset())
