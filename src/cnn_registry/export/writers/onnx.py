"""An ONNX file, with its facts as metadata properties."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.data.dataset import Bytes
from cnn_registry.export.conversion import export_with_keras
from cnn_registry.export.facts import as_texts
from cnn_registry.export.formats import FORMATS, INPUT, OUTPUT
from cnn_registry.export.network import Job

BATCH = "batch"
"""The name of the free dimension."""


def write_onnx(job: Job) -> None:
    """Write ``model.onnx``.

    In float16 the weights take half the space; the runtime makes float32 of them when it loads the file. In int8,
    convolutions and matrix products are quantized with a scale per output channel, in 7 bits of the weights' 8, because
    processors without VNNI overflow otherwise.
    """
    onnx = importlib.import_module("onnx")
    path = job.folder / FORMATS["onnx"].path
    export_with_keras(job, path, "onnx")
    if job.precision == "int8":
        _quantize(path, job.calibration)
    model = onnx.load(path)
    if job.precision == "float16":
        _halve(model)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    onnx.helper.set_model_props(model, as_texts(job.facts))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _halve(model: Any) -> None:
    """Keep the float32 weights as float16, each followed by a cast."""
    onnx = importlib.import_module("onnx")
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT:
            name, values = weight.name, onnx.numpy_helper.to_array(weight)
            weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
            casts.append(onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT))
    for position, cast in enumerate(casts):  # before the nodes that use them
        model.graph.node.insert(position, cast)


def _quantize(path: Path, images: Bytes) -> None:
    """Quantize the file at ``path`` with the ranges that ``images`` give its values."""
    quantization = importlib.import_module("onnxruntime.quantization")
    inputs = iter([{INPUT: image[None]} for image in images])

    class Images(quantization.CalibrationDataReader):  # type: ignore[name-defined, misc]  # imported by name
        def get_next(self) -> Any:
            return next(inputs, None)

    whole = path.with_name("whole.onnx")
    path.replace(whole)
    quantization.quantize_static(
        whole,
        path,
        Images(),
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        per_channel=True,
        reduce_range=True,
    )
    whole.unlink()


def load_onnx(folder: Path) -> Callable[[Bytes], np.ndarray]:
    """The function of the file, run by onnxruntime on the CPU."""
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(folder / FORMATS["onnx"].path, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run([OUTPUT], {INPUT: images})[0])
