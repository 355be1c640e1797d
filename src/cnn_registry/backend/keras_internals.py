"""What is read from Keras without a public interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


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


def call_of(tensor: Any) -> Call:
    """The call that a symbolic tensor comes from; that of an input has no inputs."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return Call(
        history.operation,
        tuple(node.arguments.args),
        dict(node.arguments.kwargs),
        tuple(node.input_tensors),
        tuple(node.outputs),
    )
