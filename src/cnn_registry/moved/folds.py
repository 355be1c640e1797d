"""The old path of ``cnn_registry.folds``. Its public names are in `cnn_registry`."""

from cnn_registry.system.lazy import moved_names

__getattr__ = moved_names(__name__, "cnn_registry")
