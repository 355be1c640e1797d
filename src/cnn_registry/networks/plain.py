"""Networks of Keras' own operations, whose saved files can be loaded where nothing else is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.keras_internals import has_graph

from .graph import as_functional
from .saving import drop_own_initializers

if TYPE_CHECKING:
    import keras


def with_keras_operations(model: keras.Model) -> keras.Model:
    """A network that computes the same with Keras' own layers and operations, as far as that is possible.

    A layer that is not Keras' own is replaced by the operations that its ``call`` consists of, with its weights as
    constants. Initializers of this library are replaced also; the weights have their values.

    Args:
        model: any model. Where it is neither functional nor sequential, only the initializers are replaced.

    Returns:
        A network that shares Keras' layers with ``model``; ``model`` itself where all of its layers are Keras' own.
    """
    keras = backend.keras()
    drop_own_initializers(model)
    if not has_graph(model) or all(map(_is_keras, model.layers)):
        return model

    def expanded(layer: Any, *inputs: Any, **options: Any) -> Any:
        options = {name: value for name, value in options.items() if value is not None}
        return layer(*inputs, **options) if _is_keras(layer) else layer.call(*inputs, **options)

    def with_constants(operation: Any, *inputs: Any, **options: Any) -> Any:
        inputs, options = keras.tree.map_structure(_constant, (inputs, options))
        return operation(*inputs, **options)

    model = as_functional(model)
    for change in (expanded, with_constants):
        model = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=change)
    return model


def _is_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"


def _constant(value: Any) -> Any:
    """A weight as an array; anything else as it is."""
    keras = backend.keras()
    return keras.ops.convert_to_numpy(value) if isinstance(value, keras.Variable) else value
