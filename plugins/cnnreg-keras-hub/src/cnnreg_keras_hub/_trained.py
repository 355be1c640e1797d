"""The classifiers of the built-in presets with their weights: a function for each, by the preset's name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ._network import trained
from ._presets import PRESETS

if TYPE_CHECKING:
    import keras


def __getattr__(name: str) -> Callable[..., keras.Model]:
    if name not in PRESETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(_trained, name)


def _trained(preset: str, weights: str) -> keras.Model:
    return trained(preset)
