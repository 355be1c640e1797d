"""Linux' control groups, by which containers and job schedulers limit what a process may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

OWN = Path("/proc/self/cgroup")
"""Linux' list of the control groups that this process is in."""

CGROUPS = Path("/sys/fs/cgroup")
"""The control groups and their limits."""


def own_groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups, of versions 1 and 2, that this process is in, each before those around it.

    Args:
        controller: what they limit, ``"cpu"`` or ``"memory"``.
    """
    try:
        groups = OWN.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUPS / controller if controllers else CGROUPS
        # A container may see its own group as the root, whatever the path says.
        folder = root if ".." in path else root / path.lstrip("/")
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(root))
