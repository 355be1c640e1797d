"""A run's weights as safetensors, whose names are the variables' paths, and back into the file that Keras reads.

safetensors hold numbers and nothing else, and every library reads them. The header says where each array stands in the
``.weights.h5`` file, so that no network is needed to make one of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnn_registry.errors import WeightsError
from cnn_registry.text import one_line

from .keras_file import GROUP, arrays_of, stamp
from .torch_file import need_reader

FILE = "model.safetensors"
"""In a repository of a hub."""

LAYOUT = "cnn_registry"
"""The key of the header's metadata that has the layout as JSON."""

MOST = 100_000
"""Arrays and groups of a file."""


class TensorLayout(BaseModel):
    """Where the arrays stand in a ``.weights.h5`` file.

    Attributes:
        format: grows when an older package could no longer read it.
        arrays: the names in that file, with the tensors' names.
        layers: the names of layers by the groups that have their arrays.
        class_names: the classes, in the order of the outputs.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int = Field(default=1, ge=1, le=1)
    arrays: dict[str, str] = Field(max_length=MOST)
    layers: dict[str, str] = Field(max_length=MOST)
    class_names: list[str]


def to_safetensors(weights: Path, target: Path, variables: Iterable[Any], class_names: Sequence[str]) -> None:
    """Write a ``.weights.h5`` file as safetensors.

    Args:
        weights: the file.
        target: the file to write.
        variables: those of the network that the file was loaded into. An array without one keeps its name.
        class_names: the classes, in the order of the outputs.
    """
    import h5py
    from safetensors.numpy import save_file

    # Arrays of equal content may be exchanged for each other.
    paths: dict[str, list[str]] = defaultdict(list)
    for variable in variables:
        paths[_content(np.asarray(variable))].append(variable.path)
    tensors: dict[str, np.ndarray] = {}
    layout = TensorLayout(arrays={}, layers={}, class_names=list(class_names))
    with h5py.File(weights) as file:
        for name, array in arrays_of(file).items():
            if name.startswith(f"{GROUP}/"):
                continue
            value = np.ascontiguousarray(array[...])
            free = paths[_content(value)]
            tensor = free.pop(0) if free else name
            tensor = tensor if tensor not in tensors else name
            tensors[tensor] = value
            layout.arrays[name] = tensor
            group = name.rpartition("/")[0]
            if (layer := file[group].attrs.get("name")) is not None:
                layout.layers[group] = str(layer)
    save_file(tensors, target, {"format": "keras", LAYOUT: layout.model_dump_json()})


def to_keras_file(path: Path, target: Path) -> None:
    """Write safetensors that `to_safetensors` wrote as a ``.weights.h5`` file again.

    Args:
        path: the file; somebody else may have written it.
        target: the file to write.

    Raises:
        WeightsError: it cannot be read, or is of another kind.
        MissingPackageError: the package ``safetensors`` is not installed.
    """
    import h5py

    need_reader(path.name)
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            layout = _layout(tensors.metadata())
            keys = set(tensors.keys())
            if layout is None or sorted(keys) != sorted(layout.arrays.values()):  # each once: the file stays its size
                raise ValueError("it does not say where its tensors stand in a network")
            with h5py.File(target, "w") as file:
                for name, tensor in layout.arrays.items():
                    _check_name(name)
                    file.create_dataset(name, data=tensors.get_tensor(tensor))
                for group, layer in layout.layers.items():
                    file[group].attrs["name"] = layer
        stamp(target, layout.class_names)
    except Exception as error:  # safetensors and HDF5 have many for a file of another form
        raise WeightsError(f"{path} cannot be read as the weights of a run: {one_line(error)}.") from error


def is_ours(path: Path) -> bool:
    """Whether a file was written by `to_safetensors`, according to its header."""
    try:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as tensors:
            return LAYOUT in (tensors.metadata() or {})
    except Exception:  # reported where it is read
        return False


def tensor_names(path: Path) -> list[str]:
    """The names of a file's tensors; empty where it cannot be read."""
    try:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as tensors:
            return list(tensors.keys())
    except Exception:  # as above
        return []


def _layout(metadata: Mapping[str, str] | None) -> TensorLayout | None:
    text = (metadata or {}).get(LAYOUT)
    if text is None:
        return None
    try:
        return TensorLayout.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"its header is of another form: {first['msg']}") from error


def _check_name(name: str) -> None:
    """Refuse a name that is not one of an array of a network.

    Raises:
        ValueError: it is not.
    """
    parts = name.split("/")
    if len(name) > 1000 or not all(part.isprintable() and part not in ("", ".", "..", GROUP) for part in parts):
        raise ValueError(f"it has an array with the name {json.dumps(name[:100])}")


def _content(array: np.ndarray) -> str:
    content = np.ascontiguousarray(array)
    return f"{content.dtype.str}{content.shape}{sha256(content.data.cast('B') if content.size else b'').hexdigest()}"
