"""Networks whose saved files need nothing of this library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import backend

if TYPE_CHECKING:
    import keras

OWN = "cnn_registry."


def drop_own_initializers(model: keras.Model) -> None:
    """Replace initializers of this library by Keras' ``HeNormal`` in a built model, whose weights have their values.

    Keras saves the initializers with a network. A ``.keras`` file that a callback writes can then be loaded where this
    library is not imported.
    """
    keras = backend.keras()
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            drop_own_initializers(layer)
        for name, value in list(vars(layer).items()):
            if name.endswith("_initializer") and type(value).__module__.startswith(OWN):
                setattr(layer, name, keras.initializers.HeNormal())
