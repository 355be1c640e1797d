"""A function for each constructor of ``keras.applications``: it returns the trained network, in the form of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ._families import FAMILIES


def __getattr__(constructor: str) -> Callable[..., Any]:
    if constructor not in FAMILIES:
        raise AttributeError(f"keras.applications has no classifier {constructor!r}")
    from ._network import trained

    return partial(trained, constructor)
