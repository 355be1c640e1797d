"""A LiteRT file (TensorFlow Lite), with its facts in the archive at its end, as TensorFlow Lite packs labels."""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes
from cnn_registry.export.conversion import export_with_keras
from cnn_registry.export.formats import FORMATS, INPUT, OUTPUT
from cnn_registry.export.network import Job
from cnn_registry.runs.layout import label_line

SIGNATURE = "serving_default"
FACTS = "metadata.json"
LABELS = "labels.txt"


def write_litert(job: Job) -> None:
    """Write ``model.tflite``.

    Only LiteRT's own operations are allowed, so that the file runs without TensorFlow's. In float16 the weights take
    half the space, and the runtime computes in float32.
    """
    lite = backend.tensorflow().lite
    kinds: list[Any] = [lite.OpsSet.TFLITE_BUILTINS]
    options: dict[str, Any] = {"target_spec": {"supported_ops": kinds}}
    if job.precision != "float32":
        options["optimizations"] = [lite.Optimize.DEFAULT]
    if job.precision == "float16":
        options["target_spec"]["supported_types"] = [backend.tensorflow().float16]
    if job.precision == "int8":
        kinds.append(lite.OpsSet.TFLITE_BUILTINS_INT8)

        def images() -> Iterator[dict[str, Bytes]]:
            for image in job.calibration:
                yield {INPUT: image[None]}

        options["representative_dataset"] = images
    path = job.folder / FORMATS["litert"].path
    export_with_keras(job, path, "litert", **options)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FACTS, json.dumps(job.facts, indent=2, ensure_ascii=False) + "\n")
        archive.writestr(LABELS, "".join(f"{label_line(label)}\n" for label in job.facts["labels"]))


def load_litert(folder: Path) -> Callable[[Bytes], np.ndarray]:
    """The function of the file, run by LiteRT on all CPUs that this process may use."""
    runtime = importlib.import_module("ai_edge_litert.interpreter")
    path = str(folder / FORMATS["litert"].path)
    runner = runtime.Interpreter(path, num_threads=backend.usable_cpus()).get_signature_runner(SIGNATURE)
    return lambda images: np.asarray(runner(**{INPUT: images})[OUTPUT])
