"""Which models and datasets there are: specs, discovery of plugins, and lookup by name. Keras is not imported."""
