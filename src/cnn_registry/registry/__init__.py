"""Which models and datasets there are: specs, discovery of plugins, and lookup by name. Keras is not imported."""

from cnn_registry.system.lazy import moved_names

__getattr__ = moved_names(__name__, "cnn_registry")  # this package was a module with public names
