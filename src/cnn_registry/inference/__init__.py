"""Trained models: the network of a run, its predictions for pictures, and their accuracy.

Every function takes a `cnn_registry.runs.Run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry.system.lazy import lazy_names

if TYPE_CHECKING:
    from .evaluate import Evaluation as Evaluation
    from .evaluate import evaluate as evaluate
    from .model import load_model as load_model
    from .predict import Prediction as Prediction
    from .predict import predict as predict

_HOMES = {
    "Evaluation": "inference.evaluate",
    "Prediction": "inference.predict",
    "evaluate": "inference.evaluate",
    "load_model": "inference.model",
    "predict": "inference.predict",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
