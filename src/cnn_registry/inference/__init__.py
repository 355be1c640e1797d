"""Trained models: the network of a run, its predictions for pictures, and their accuracy.

Every function takes a `cnn_registry.runs.Run`.
"""

from .evaluate import evaluate
from .evaluation import Evaluation
from .model import load_model
from .predict import Prediction, predict

# Not lazily: a function has the name of its module, and must come after it.
__all__ = ["Evaluation", "Prediction", "evaluate", "load_model", "predict"]
