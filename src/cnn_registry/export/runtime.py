"""Networks computed by ONNX Runtime, which answers for one image sooner than TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes
from cnn_registry.data.form import Form
from cnn_registry.errors import ExportError
from cnn_registry.inference.predictor import traced
from cnn_registry.registry.spec import Pixels
from cnn_registry.system.extras import need

from .check import LARGEST_DIFFERENCE
from .conversion import converting
from .formats import FORMATS
from .network import Job, prepared
from .writers.onnx import load_onnx, write_onnx

if TYPE_CHECKING:
    import keras

TRIED = 4
"""Images of noise for which both runtimes must agree."""


def check_onnx() -> None:
    """Refuse to compute by ONNX Runtime where it, or what converts to it, is not installed.

    Raises:
        MissingPackageError: a package is missing.
        BackendError: Keras runs on another backend than TensorFlow.
    """
    modules = FORMATS["onnx"].modules
    need("Prediction by ONNX Runtime", *modules, extra="onnx", distributions=modules)
    backend.require_tensorflow()


def onnx_outputs(
    networks: Sequence[keras.Model], pixels: Pixels, shape: tuple[int, int, int]
) -> Callable[[Bytes], np.ndarray]:
    """As `cnn_registry.inference.predictor.traced`, computed by ONNX Runtime on the CPU.

    Raises:
        ExportError: a network cannot be converted, or gives other outputs there.
    """
    functions = [_converted(network, pixels, shape) for network in networks]
    if len(functions) == 1:
        return functions[0]
    return lambda images: np.asarray(np.mean([function(images) for function in functions], axis=0, dtype=np.float32))


def _converted(network: Any, pixels: Pixels, shape: tuple[int, int, int]) -> Callable[[Bytes], np.ndarray]:
    nothing = np.empty((0, *shape), np.uint8)
    with tempfile.TemporaryDirectory(prefix="cnnreg-") as name, converting("ONNX", network.name):
        folder = Path(name)
        write_onnx(Job(prepared(network), Form(*shape), pixels, folder, {}, "float32", nothing))
        function = load_onnx(folder)
    images = np.random.default_rng(0).integers(0, 256, (TRIED, *shape), np.uint8)
    apart = float(np.abs(function(images) - traced([network], pixels, shape)(images)).max())
    if not apart <= LARGEST_DIFFERENCE["float32"]:  # also where it is NaN
        raise ExportError(
            f"{network.name} gives other outputs in ONNX Runtime, by up to {apart:.2g}; use the runtime 'keras'."
        )
    return function
