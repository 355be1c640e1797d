"""A registry of convolutional networks for Keras 3, with reusable blocks and a training loop.

    model = create_model("vgg16", num_classes=17)  # a keras.Model
    run = train("vgg16", data="flowers")  # a run directory with weights, history and report

Importing the package takes milliseconds and imports neither Keras nor TensorFlow; each name is imported when it is
first used. Import from this module and from its public submodules only: `blocks`, `data`, `errors`, `explain`,
`inference`, `runs` and `testing`. Everything else may move without notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .system.lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import blocks as blocks
    from . import data as data
    from . import errors as errors
    from . import explain as explain
    from . import inference as inference
    from . import runs as runs
    from . import testing as testing
    from .errors import CnnRegistryError as CnnRegistryError
    from .hub.push import Pushed as Pushed
    from .hub.push import push as push
    from .inference.evaluate import evaluate as evaluate
    from .inference.model import load_model as load_model
    from .inference.predict import predict as predict
    from .networks.build import create_model as create_model
    from .recipes.load import load_recipe as load_recipe
    from .recipes.schema import Recipe as Recipe
    from .registry.current import refresh as refresh
    from .registry.datasets import register_dataset as register_dataset
    from .registry.models import get_spec as get_spec
    from .registry.models import list_models as list_models
    from .registry.models import register_model as register_model
    from .registry.spec import API_VERSION as API_VERSION
    from .registry.spec import DatasetSpec as DatasetSpec
    from .registry.spec import Feature as Feature
    from .registry.spec import ModelSpec as ModelSpec
    from .registry.spec import Paper as Paper
    from .registry.spec import Pixels as Pixels
    from .registry.spec import Pretrained as Pretrained
    from .registry.spec import Provider as Provider
    from .runs.run import Run as Run
    from .runs.run import load_run as load_run
    from .training.range_test import LearningRates as LearningRates
    from .tuning.outcome import Tuned as Tuned
    from .tuning.tune import tune as tune
    from .workflows.augmented import augmented as augmented
    from .workflows.cross_validate import Folds as Folds
    from .workflows.cross_validate import train_folds as train_folds
    from .workflows.lr_find import find_learning_rate as find_learning_rate
    from .workflows.resume import resume as resume
    from .workflows.train import train as train

_HOMES = {
    "API_VERSION": "registry.spec",
    "CnnRegistryError": "errors",
    "DatasetSpec": "registry.spec",
    "Feature": "registry.spec",
    "Folds": "workflows.cross_validate",
    "LearningRates": "training.range_test",
    "ModelSpec": "registry.spec",
    "Paper": "registry.spec",
    "Pixels": "registry.spec",
    "Pretrained": "registry.spec",
    "Provider": "registry.spec",
    "Pushed": "hub.push",
    "Recipe": "recipes.schema",
    "Run": "runs.run",
    "Tuned": "tuning.outcome",
    "augmented": "workflows.augmented",
    "create_model": "networks.build",
    "evaluate": "inference.evaluate",
    "find_learning_rate": "workflows.lr_find",
    "get_spec": "registry.models",
    "list_models": "registry.models",
    "load_model": "inference.model",
    "load_recipe": "recipes.load",
    "load_run": "runs.run",
    "predict": "inference.predict",
    "push": "hub.push",
    "refresh": "registry.current",
    "register_dataset": "registry.datasets",
    "register_model": "registry.models",
    "resume": "workflows.resume",
    "train": "workflows.train",
    "train_folds": "workflows.cross_validate",
    "tune": "tuning.tune",
}
_SUBPACKAGES = ("blocks", "data", "errors", "explain", "inference", "runs", "testing")

__all__ = ["__version__", *_SUBPACKAGES, *sorted(_HOMES)]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, _SUBPACKAGES)

__path__.append(str(Path(__file__).with_name("moved")))  # old paths of modules that plugins import
