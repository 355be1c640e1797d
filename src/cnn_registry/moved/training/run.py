"""The old path of ``cnn_registry.training.run``. Its public names are in `cnn_registry.runs`."""

from cnn_registry.system.lazy import moved_names

__getattr__ = moved_names(__name__, "cnn_registry.runs")
