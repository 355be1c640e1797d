"""The network that is exported: from uint8 pixels to probabilities, with everything between in one graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes
from cnn_registry.data.form import Form
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.networks.folding import fold_batch_norm
from cnn_registry.networks.graph import main_network
from cnn_registry.networks.ungrouped import split_groups
from cnn_registry.registry.spec import Pixels

from .formats import INPUT, OUTPUT, WeightPrecision

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Job:
    """What a writer gets.

    Attributes:
        network: from `prepared`, its folded layers without preprocessing.
        form: the form of its images.
        pixels: the form in which it takes them.
        folder: where to write; exists and is empty.
        facts: what travels in the file, by name; JSON-ready.
        precision: the type of the weights.
        calibration: uint8 ``(N, height, width, channels)``, training images for int8; empty otherwise.
    """

    network: keras.Model
    form: Form
    pixels: Pixels
    folder: Path
    facts: dict[str, Any]
    precision: WeightPrecision
    calibration: Bytes


def prepared(model: keras.Model) -> keras.Model:
    """``model`` for inference: its main output alone, batch normalisation folded, no grouped convolution."""
    return split_groups(fold_batch_norm(main_network(model)))


def with_preprocessing(network: keras.Model, shape: tuple[int, int, int], pixels: Pixels) -> keras.Model:
    """``network`` from `INPUT`, uint8 ``(N, *shape)``, to a dict with `OUTPUT`."""
    keras = backend.keras()
    images = keras.Input(shape, dtype="uint8", name=INPUT)
    probabilities = network(scale(keras.ops.cast(images, "float32"), pixels))
    return keras.Model(images, {OUTPUT: probabilities}, name=network.name)
