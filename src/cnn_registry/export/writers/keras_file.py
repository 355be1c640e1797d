"""A ``.keras`` file, with a JSON file beside it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes
from cnn_registry.errors import ExportError
from cnn_registry.export.formats import FORMATS, OUTPUT
from cnn_registry.export.network import Job, with_preprocessing
from cnn_registry.networks.plain import with_keras_operations

FACTS = "preprocess.json"


def write_keras(job: Job) -> None:
    """Write ``model.keras`` and ``preprocess.json``.

    Raises:
        ExportError: the file could only be loaded with packages besides Keras.
    """
    path = job.folder / FORMATS["keras"].path
    network = with_keras_operations(job.network)
    with_preprocessing(network, job.form.shape, job.pixels).save(path)
    with zipfile.ZipFile(path) as archive:
        modules = set(re.findall(r'"module": "([\w.]+)"', archive.read("config.json").decode()))
    if foreign := sorted(module for module in modules if module.partition(".")[0] not in ("keras", "builtins")):
        raise ExportError(
            f"A Keras file of {job.network.name} could only be loaded with {', '.join(foreign)}. "
            f"Use --format saved_model, which holds the operations themselves."
        )
    (job.folder / FACTS).write_text(json.dumps(job.facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_keras(folder: Path) -> Callable[[Bytes], np.ndarray]:
    """The function of the file, run by Keras."""
    model = backend.keras().models.load_model(folder / FORMATS["keras"].path, compile=False)
    traced = backend.tensorflow().function(lambda images: model(images, training=False), autograph=False)
    tf = backend.tensorflow()
    outputs = traced.get_concrete_function(tf.TensorSpec(model.input_shape, tf.uint8))
    return lambda images: outputs(tf.constant(images))[OUTPUT].numpy()
