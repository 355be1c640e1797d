"""Python's search for garbage, which takes seconds among the million objects that Keras and TensorFlow consist of."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from .quiet import PutBack, in_force

_exempt = False


def exempt_imports() -> None:
    """From now on, what `importing` brings into this process is exempt from the search, also when the process ends.

    For a process of our own alone: whatever else is garbage at the end of an import is never collected either.
    """
    global _exempt
    _exempt = True


@contextmanager
def importing() -> Iterator[None]:
    """Within it no garbage is searched for: almost all that is made while modules are imported stays."""

    def change() -> PutBack:
        if not gc.isenabled():
            return lambda: None
        gc.disable()
        return gc.enable

    with in_force("garbage", change):
        yield
    if _exempt:
        gc.freeze()
