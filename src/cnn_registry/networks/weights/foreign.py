"""Weights under names other than ours, read from PyTorch's files or from a Keras model, by layer and variable."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.errors import DownloadError, WeightsError
from cnn_registry.system.isolation import isolated
from cnn_registry.text import one_line, snake_case

from .torch_file import missing_reader, need_reader, read_state_dict

LayerArrays = dict[str, dict[str, np.ndarray]]
"""By the layer's name there, then by Keras' name of the variable; kernels in Keras' order of axes."""


@dataclass(frozen=True)
class Foreign:
    """The weights of another library's network.

    Attributes:
        arrays: the weights, see `LayerArrays`.
        channels_first: whether its maps are flattened channel by channel, as PyTorch does, or pixel by pixel.
    """

    arrays: LayerArrays
    channels_first: bool


def read_torch(path: Path) -> Foreign:
    """The state dict in a ``.pth`` or ``.safetensors`` file. Code in the file is not run.

    Raises:
        WeightsError: the file is damaged or holds something else.
        MissingPackageError: the library that reads it is not installed.
    """
    need_reader(path.name)
    state = _safetensors(path) if path.name.endswith(".safetensors") else read_state_dict(path)
    modules: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, array in state.items():
        module, _, variable = key.rpartition(".")
        if variable != "num_batches_tracked":
            modules[module][variable] = array
    return Foreign({module: _as_keras(variables) for module, variables in modules.items()}, channels_first=True)


def _as_keras(variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A module's weights under Keras' names, its kernel's axes in Keras' order."""
    if "weight" in variables and variables["weight"].ndim == 1:
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        return {names.get(name, name): array for name, array in variables.items()}
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}  # (out, in, height, width) and (out, in)
    return {
        "kernel" if name == "weight" else name: array.transpose(axes.get(array.ndim))
        for name, array in variables.items()
    }


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded: dict[str, np.ndarray] = import_module("safetensors.numpy").load_file(path)
    except ImportError as error:
        raise missing_reader(path.name, "safetensors", one_line(error)) from error
    except Exception as error:  # many kinds for a file of another form, and KeyError for a type that NumPy lacks
        raise WeightsError(
            f"{path} cannot be read as safetensors: {one_line(error)}. Is it complete, and of that kind?"
        ) from error
    return loaded


def read_keras_model(origin: str) -> Foreign:
    """The weights of the trained model that a function returns; it may download them.

    Args:
        origin: ``"module:function"``; the function is called with ``weights="imagenet"``.

    Raises:
        WeightsError: there is no such function.
        DownloadError: the function failed, for instance because there is no network.
    """
    with isolated(f"Loading the weights of {origin}"):
        function = named_function(origin)
        try:
            model = function(weights="imagenet")
        except (Exception, SystemExit) as error:  # Keras raises a bare Exception when a download fails
            raise DownloadError(
                f"The weights of {origin} could not be downloaded: {one_line(error)}. Try again, or give a file."
            ) from error
    return of_keras_model(model)


def named_function(origin: str) -> Any:
    """The function that ``"module:function"`` names in the declaration of published weights.

    Raises:
        WeightsError: there is none.
    """
    module, _, function = origin.partition(":")
    try:
        return getattr(import_module(module), function)
    except (Exception, SystemExit) as error:  # whatever importing a module raises
        raise WeightsError(
            f"The weights are declared to come from {origin}, which cannot be imported: {one_line(error).rstrip('.')}. "
            f"The plugin has to name a function."
        ) from error


def of_keras_model(model: Any) -> Foreign:
    """The weights of a Keras model. Layers that Keras numbers (``conv2d_7``) are counted from the model's first."""
    weighted = [layer for layer in model.layers if layer.weights]
    names = _renumbered([layer.name for layer in weighted], {snake_case(type(layer).__name__) for layer in weighted})
    arrays = {
        name: {weight.name: np.asarray(weight) for weight in layer.weights}
        for name, layer in zip(names, weighted, strict=True)
    }
    return Foreign(arrays, channels_first=False)


def _renumbered(names: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """Names as in a session that built nothing before: ``conv2d_94, conv2d_95`` are ``conv2d, conv2d_1``."""
    numbered = re.compile(f"({'|'.join(map(re.escape, kinds))})(?:_([0-9]+))?")
    matches = {name: numbered.fullmatch(name) for name in names}
    first: dict[str, int] = {}
    for match in filter(None, matches.values()):
        first[match[1]] = min(int(match[2] or 0), first.get(match[1], int(match[2] or 0)))

    def renumber(name: str, match: re.Match[str] | None) -> str:
        if match is None:
            return name
        number = int(match[2] or 0) - first[match[1]]
        return f"{match[1]}_{number}" if number else match[1]

    return [renumber(name, match) for name, match in matches.items()]
