"""Kernels that were trained on RGB images, for images with another number of channels.

As timm documents its ``adapt_input_conv``: for grey images a kernel is summed over the colours, so that a grey image
gives what it would give as RGB; for others it is repeated over the channels and scaled, so that the sum over the
channels stays as large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import has_graph
from cnn_registry.system.progress import note
from cnn_registry.text import counted, listing

if TYPE_CHECKING:
    import keras

COLOURS = 3


def first_convolutions(model: keras.Model) -> set[str]:
    """Names of the convolutions that take the images of a ``model`` for others than RGB, with nothing learnt before."""
    if not has_graph(model) or len(model.inputs) != 1 or model.inputs[0].shape[-1] == COLOURS:
        return set()
    producers = {id(layer.output): layer for layer in model.layers}
    kind = backend.keras().layers.Conv2D
    return {
        layer.name
        for layer in model.layers
        if isinstance(layer, kind) and layer.groups == 1 and _takes(layer, model.inputs[0], producers)
    }


def _takes(layer: Any, images: Any, producers: Mapping[int, Any]) -> bool:
    """Whether a layer takes the images, as they are or after layers without weights such as padding."""
    tensor = layer.input
    while tensor is not images:
        before = producers.get(id(tensor))
        if before is None or before.weights or not hasattr(before.input, "shape"):
            return False
        tensor = before.input
    return True


def of_other_channels(layer: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a convolution on RGB for the channels of ``layer``; as they are where they belong to another."""
    kernel = arrays.get("kernel")
    if kernel is None or kernel.ndim != 4 or kernel.shape[2] != COLOURS:
        return dict(arrays)
    return {**arrays, "kernel": adapted(kernel, layer.kernel.shape[2])}


def adapted(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel ``(height, width, 3, filters)`` for another number of channels."""
    if channels == 1:
        return np.asarray(kernel.sum(axis=2, keepdims=True))
    repeated = np.tile(kernel, (1, 1, -(-channels // COLOURS), 1))[:, :, :channels]
    return np.asarray(repeated * (COLOURS / channels), kernel.dtype)


def note_adapted(model: keras.Model, what: str, layers: Sequence[str]) -> None:
    """Say which layers got an adapted kernel of the weights ``what``, if any did."""
    if not layers:
        return
    channels = model.inputs[0].shape[-1]
    how = "summed" if channels == 1 else f"repeated and scaled by {COLOURS}/{channels}"
    note(f"{what}: kernels of {listing(sorted(layers))} for RGB are {how} for {counted(channels, 'channel')}.")
