"""The graphs of functional and sequential models: which layer was called with what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import environment
from .checks import holds

if TYPE_CHECKING:
    import keras


class Call(NamedTuple):
    """One call of an operation in the graph of a functional or sequential model.

    Attributes:
        operation: the layer, model or function of ``keras.ops`` that was called.
        args, kwargs: what it was called with, symbolic tensors among them.
        inputs: the symbolic tensors among ``args`` and ``kwargs``.
        outputs: the symbolic tensors that came out.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def has_graph(model: keras.Model) -> bool:
    """Whether a model is functional or sequential. The layers of others are called by code of their own."""
    return bool(getattr(model, "inputs", None))


def call_of(tensor: Any) -> Call:
    """The call that a symbolic tensor comes from; that of an input has no inputs."""
    history = tensor._keras_history
    return _call(history.operation, history.operation._inbound_nodes[history.node_index])


def calls_of(layer: Any) -> list[Call]:
    """The calls of a layer in graphs, in their order."""
    return [_call(layer, node) for node in layer._inbound_nodes]


def _call(operation: Any, node: Any) -> Call:
    arguments = node.arguments
    return Call(
        operation, tuple(arguments.args), dict(arguments.kwargs), tuple(node.input_tensors), tuple(node.outputs)
    )


@cache
def graph_is_known() -> bool:
    """Whether `call_of` and `calls_of` work in the installed Keras."""

    def works() -> bool:
        keras = environment.keras()
        inputs = [keras.Input((2,), name=f"checked_{number}") for number in range(2)]
        layer = keras.layers.ReLU(name="checked")
        outputs = [layer(tensor) for tensor in inputs]
        called = calls_of(layer)
        return (
            [(id(call.inputs[0]), id(call.outputs[0])) for call in called]
            == [(id(one), id(other)) for one, other in zip(inputs, outputs, strict=True)]
            and call_of(outputs[1]).operation is layer
            and not call_of(inputs[0]).inputs
        )

    return holds(works, "the calls of layers", "layers compute in float32, and batch normalisation is not folded")
