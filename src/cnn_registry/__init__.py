"""A registry of convolutional networks for Keras 3, with reusable blocks and a training loop.

The names below are imported when they are first used, so that importing the package costs milliseconds and never
loads Keras or TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import blocks as blocks
    from .errors import CnnRegistryError as CnnRegistryError
    from .folds import train_folds as train_folds
    from .registry import create_model as create_model
    from .registry import get_spec as get_spec
    from .registry import list_models as list_models
    from .registry import register_model as register_model
    from .resumption import resume as resume
    from .spec import Feature as Feature
    from .spec import ModelSpec as ModelSpec
    from .spec import Paper as Paper
    from .spec import Pretrained as Pretrained
    from .training.recipe import Recipe as Recipe
    from .workflow import train as train

_HOME = {
    "CnnRegistryError": "errors",
    "Feature": "spec",
    "ModelSpec": "spec",
    "Paper": "spec",
    "Pretrained": "spec",
    "Recipe": "training.recipe",
    "create_model": "registry",
    "get_spec": "registry",
    "list_models": "registry",
    "register_model": "registry",
    "resume": "resumption",
    "train": "workflow",
    "train_folds": "folds",
}
_SUBPACKAGES = ("blocks",)

__all__ = ["__version__", "blocks", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in _SUBPACKAGES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
