"""Built layers: their dtype policies and settings."""

from __future__ import annotations

from functools import cache
from typing import Any

from .. import environment
from .checks import holds, note_difference


@cache
def policy_is_settable() -> bool:
    """Whether a built layer can be given another dtype policy, while its weights stay what they are."""

    def works() -> bool:
        keras = environment.keras()
        layer = keras.layers.Dense(1, kernel_initializer="ones", name="checked")
        layer.build((None, 1))
        layer.dtype_policy = "mixed_bfloat16"
        outputs = layer(keras.ops.ones((1, 1)))
        types = [keras.backend.standardize_dtype(item.dtype) for item in (layer.kernel, outputs)]
        return types == ["float32", "bfloat16"] and layer.compute_dtype == "bfloat16"

    return holds(works, "the dtype policies of built layers", "layers compute in float32")


def setting(layer: Any, name: str) -> Any:
    """A setting of a layer; of one that the installed Keras does not have, a value that equals no other."""
    try:
        return getattr(layer, name)
    except AttributeError:
        _note_missing(type(layer).__name__, name)
        return object()


@cache
def _note_missing(layer: str, name: str) -> None:
    note_difference(f"{layer} has no attribute {name!r}", "such layers take the training steps of plain Keras")
