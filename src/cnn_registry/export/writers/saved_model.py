"""A SavedModel in a folder named after its version, as TensorFlow Serving and KServe take it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes
from cnn_registry.export.formats import FORMATS, INPUT, OUTPUT
from cnn_registry.export.network import Job, with_preprocessing

SIGNATURE = "serving_default"
FACTS = "metadata.json"
"""The asset with the class names and the rest of the facts."""


def write_saved_model(job: Job) -> None:
    """Write the folder ``1``.

    In float16 the weights take half the space, and are cast to float32 when the network runs.
    """
    tf = backend.tensorflow()
    network = with_preprocessing(job.network, job.form.shape, job.pixels)
    kept = tf.float16 if job.precision == "float16" else tf.float32
    module = tf.Module()
    module.trainable = [_variable(weight, kept) for weight in network.trainable_variables]
    module.others = [_variable(weight, kept) for weight in network.non_trainable_variables]

    def serve(images: Any) -> dict[str, Any]:
        trainable, others = ([_value(weight) for weight in group] for group in (module.trainable, module.others))
        outputs, _ = network.stateless_call(trainable, others, images, training=False)
        return {OUTPUT: outputs[OUTPUT]}

    spec = tf.TensorSpec((None, *job.form.shape), tf.uint8, name=INPUT)
    module.serve = tf.function(serve, input_signature=[spec], autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        asset = Path(folder) / FACTS
        asset.write_text(json.dumps(job.facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        module.metadata = tf.saved_model.Asset(str(asset))
        signatures = {SIGNATURE: module.serve.get_concrete_function()}
        tf.saved_model.save(module, str(job.folder / FORMATS["saved_model"].path), signatures=signatures)


def _variable(weight: Any, kept: Any) -> Any:
    tf = backend.tensorflow()
    value = tf.convert_to_tensor(weight.value)
    return tf.Variable(tf.cast(value, kept) if value.dtype == tf.float32 else value, trainable=False)


def _value(weight: Any) -> Any:
    tf = backend.tensorflow()
    return tf.cast(weight, tf.float32) if weight.dtype == tf.float16 else tf.convert_to_tensor(weight)


def load_saved_model(folder: Path) -> Callable[[Bytes], np.ndarray]:
    """The function of the folder, run by TensorFlow."""
    tf = backend.tensorflow()
    loaded = tf.saved_model.load(str(folder / FORMATS["saved_model"].path))
    serve = loaded.signatures[SIGNATURE]

    def run(images: Bytes) -> np.ndarray:
        _ = loaded  # its variables live as long as it does
        return np.asarray(serve(**{INPUT: tf.constant(images)})[OUTPUT])

    return run
