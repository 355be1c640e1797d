"""The old path of ``cnn_registry.download``. Its public names are in `cnn_registry.data`."""

from cnn_registry.system.lazy import moved_names

__getattr__ = moved_names(__name__, "cnn_registry.data")
