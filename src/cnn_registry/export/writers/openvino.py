"""OpenVINO's two files, with the facts in the section ``cnn_registry`` of their ``rt_info``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnn_registry.data.dataset import Bytes
from cnn_registry.export.conversion import export_with_keras, without_telemetry
from cnn_registry.export.facts import as_texts
from cnn_registry.export.formats import FORMATS, INPUT, OUTPUT
from cnn_registry.export.network import Job

SECTION = "cnn_registry"
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""On processors with bfloat16 instructions, OpenVINO computes in bfloat16 otherwise, which is off by 1e-3."""


def write_openvino(job: Job) -> None:
    """Write ``model.xml`` and ``model.bin``.

    In float16 the weights take half the space; the runtime computes as it is asked to. In int8, NNCF quantizes.
    """
    ov = without_telemetry("openvino")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        raw = Path(folder) / "model.xml"
        export_with_keras(job, raw, "openvino")
        model = ov.Core().read_model(raw)
        if job.precision == "int8":
            quantizer = without_telemetry("nncf")
            images = quantizer.Dataset([image[None] for image in job.calibration])
            model = quantizer.quantize(model, images, subset_size=len(job.calibration), fast_bias_correction=True)
        for name, text in as_texts(job.facts).items():
            model.set_rt_info(text, [SECTION, name])
        ov.save_model(model, job.folder / FORMATS["openvino"].path, compress_to_fp16=job.precision == "float16")
        del model  # it holds the file of its weights open


def load_openvino(folder: Path) -> Callable[[Bytes], np.ndarray]:
    """The function of the files, run by OpenVINO on the CPU in float32, or in int8 where they say so."""
    core = without_telemetry("openvino").Core()
    compiled = core.compile_model(folder / FORMATS["openvino"].path, "CPU", FLOAT32)
    return lambda images: np.array(compiled({INPUT: images})[OUTPUT])
