"""Compare the runtimes that can compute predictions: the network that Keras traces, ONNX Runtime and OpenVINO.

    python -m benchmarks.runtimes

All compute in float32, from the same uint8 pixels to the same probabilities, one after another in one process. The best
of `ROUNDS` medians counts. Needs the extras ``onnx`` and ``openvino``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry import backend, create_model
from cnn_registry.data.form import Form
from cnn_registry.export.check import milliseconds
from cnn_registry.export.conversion import converting
from cnn_registry.export.network import Job, prepared
from cnn_registry.export.writers.onnx import load_onnx, write_onnx
from cnn_registry.export.writers.openvino import load_openvino, write_openvino
from cnn_registry.inference.predictor import traced
from cnn_registry.networks.folding import fold_batch_norm

from .common import CLASSES, Facts, begin, save

CELLS = (("resnet18", 96), ("inception_v2", 128), ("vgg16", 96), ("alexnet", 224))
BATCHES = (1, 32)
ROUNDS = 2
RUNTIMES: dict[str, tuple[Callable[[Job], None], Callable[[Path], Any]]] = {
    "onnx": (write_onnx, load_onnx),
    "openvino": (write_openvino, load_openvino),
}


def cell(name: str, size: int) -> Facts:
    """Images per second and seconds of preparation of one network, by runtime."""
    form = Form.of(size)
    with backend.standard_settings():
        model = create_model(name, num_classes=CLASSES, input_shape=form.shape)
        began = time.perf_counter()
        functions = {"keras": traced([fold_batch_norm(model)], "unit", form.shape)}
        prepare = {"keras": time.perf_counter() - began}
        for runtime, (write, load) in RUNTIMES.items():
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder, converting(runtime, name):
                nothing = np.empty((0, *form.shape), np.uint8)
                write(Job(prepared(model), form, "unit", Path(folder), {}, "float32", nothing))
                functions[runtime] = load(Path(folder))
            prepare[runtime] = time.perf_counter() - began
    facts: Facts = {"model": name, "size": size, "prepare_seconds": {key: round(s, 1) for key, s in prepare.items()}}
    images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *form.shape), np.uint8)
    for batch in BATCHES:
        rounds = [milliseconds(list(functions.values()), images[:batch]) for _ in range(ROUNDS)]
        best = np.min(rounds, axis=0)
        facts[f"batch_{batch}"] = {key: round(1000 / took, 1) for key, took in zip(functions, best, strict=True)}
    return facts


def main() -> None:
    facts: Facts = begin() | {"cells": []}
    for name, size in CELLS:
        facts["cells"].append(cell(name, size))
        print(json.dumps(facts["cells"][-1]), file=sys.stderr)
        save("runtimes", facts)


if __name__ == "__main__":
    main()
