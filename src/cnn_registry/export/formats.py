"""The formats that a network can be exported to: what each is called, needs and can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cnn_registry.errors import UsageError
from cnn_registry.system.extras import need
from cnn_registry.text import either

FormatName = Literal["keras", "saved_model", "onnx", "litert", "openvino"]
WeightPrecision = Literal["float32", "float16", "int8"]

INPUT = "images"
"""The name of the input: uint8 ``(N, height, width, channels)``: grey, RGB or RGBA."""

OUTPUT = "probabilities"
"""The name of the output: float32 ``(N, classes)``."""


@dataclass(frozen=True)
class ExportFormat:
    """A file format for networks.

    Attributes:
        name: what ``--format`` takes.
        title: its name in sentences.
        path: the file or folder with the network, in the folder of an export.
        precisions: the types in which it can hold the weights.
        modules: what writing and running it needs besides TensorFlow: distributions by their modules. The extra that
            installs them has the name of the format.
        int8_modules: what int8 needs besides.
    """

    name: FormatName
    title: str
    path: str
    precisions: tuple[WeightPrecision, ...]
    modules: Mapping[str, str] = field(default_factory=dict)
    int8_modules: Mapping[str, str] = field(default_factory=dict)


FORMATS: Mapping[FormatName, ExportFormat] = {
    each.name: each
    for each in (
        ExportFormat("keras", "Keras", "model.keras", ("float32",)),
        ExportFormat("saved_model", "SavedModel", "1", ("float32", "float16")),
        ExportFormat(
            "onnx",
            "ONNX",
            "model.onnx",
            ("float32", "float16", "int8"),
            {"onnx": "onnx", "onnxruntime": "onnxruntime", "tf2onnx": "tf2onnx"},
        ),
        ExportFormat(
            "litert",
            "LiteRT",
            "model.tflite",
            ("float32", "float16", "int8"),
            {"ai_edge_litert": "ai-edge-litert"},
        ),
        ExportFormat(
            "openvino",
            "OpenVINO",
            "model.xml",
            ("float32", "float16", "int8"),
            {"openvino": "openvino"},
            {"nncf": "nncf"},
        ),
    )
}


def checked_format(name: FormatName, precision: WeightPrecision) -> ExportFormat:
    """The format of this name, if it can hold this precision and what it needs is installed.

    Raises:
        UsageError: the format cannot hold it.
        MissingPackageError: a package that it needs is not installed.
    """
    found = FORMATS[name]
    if precision not in found.precisions:
        others = [each.name for each in FORMATS.values() if precision in each.precisions]
        raise UsageError(
            f"{found.title} cannot be exported in {precision}, only in {either(found.precisions)}. "
            f"For {precision} use --format {either(others)}."
        )
    modules = {**found.modules, **(found.int8_modules if precision == "int8" else {})}
    need(f"Export to {found.title}", *modules, extra=found.name, distributions=modules)
    return found
