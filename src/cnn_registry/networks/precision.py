"""The type in which the layers of a network compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cnn_registry import backend
from cnn_registry.backend.keras_internals import (
    call_of,
    calls_of,
    graph_is_known,
    has_graph,
    methods_are_replaceable,
    policy_is_settable,
)
from cnn_registry.system.progress import note

from .acceleration import adds_bias_last, agrees

if TYPE_CHECKING:
    import keras

_retyped: WeakSet[Any] = WeakSet()
"""Layers whose type `set_precision` has set, not their author."""


def set_precision(model: keras.Model, precision: str, share: float = 1.0, *, accelerating: bool = True) -> None:
    """Have the layers of a functional or sequential ``model`` compute in another type; their weights stay float32.

    These layers stay as they are:

    - The layers that compute the outputs, because a loss needs exact probabilities.
    - Layers that may have reasons of their own: those that are not Keras', and those that were given a type.
    - Convolutions whose kernel is larger than their maps. In TensorFlow 2.21 on a CPU, the bfloat16 gradient of kernel
      positions that meet no value is not zero but whatever was in memory.
    - Layers with a bias that `accelerate` does not know. On a CPU, TensorFlow sums the gradient of a bias in bfloat16,
      and a sum of ones ends at 256.

    Other models, whose layers are called by code of their own, stay in float32, and one line says so.

    Args:
        model: built in float32.
        precision: ``"bfloat16"``; ``"float16"``, in which the last two kinds of layers also compute; or ``"float32"``
            to undo it.
        share: the edge length of the smallest images as a share of the one that the model was built for.
        accelerating: whether the model will be trained as `accelerated`.
    """
    if not has_graph(model):
        if precision != "float32":
            note(f"{model.name} is neither a functional nor a sequential model, so it is trained in float32.")
        return
    if not graph_is_known() or not policy_is_settable():
        return
    if precision == "float32":
        for layer in _retyped.intersection(model.layers):
            layer.dtype_policy = precision
            _retyped.discard(layer)
        return
    layers, after = backend.keras().layers, f"mixed_{precision}"
    ends = {id(call_of(tensor).operation) for tensor in (*model.inputs, *model.outputs)}
    sums_biases = accelerating and methods_are_replaceable() and agrees("bias")
    for layer in model.layers:
        is_keras = type(layer) is getattr(layers, type(layer).__name__, None)
        if not is_keras or layer.dtype_policy.name != "float32" or id(layer) in ends:
            continue
        is_exact = not getattr(layer, "use_bias", False) or (sums_biases and adds_bias_last(layer))
        # The gradients of GPUs, for which float16 is, are right.
        if precision == "float16" or (is_exact and not _exceeds_maps(layer, share)):
            layer.dtype_policy = after
            _retyped.add(layer)


def _exceeds_maps(layer: Any, share: float) -> bool:
    """Whether a convolution's kernel is larger than its maps; for maps of any size, whether it is larger than 1x1."""
    kernel = getattr(layer, "kernel_size", ())
    if not kernel or max(kernel) == 1:
        return False
    return any(
        edge is None or int(edge * share) < extent
        for call in calls_of(layer)
        for tensor in call.inputs
        for edge, extent in zip(tensor.shape[-1 - len(kernel) : -1], kernel, strict=True)
    )
