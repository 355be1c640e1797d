"""Bring weights into a model, all of them or none.

Two parts of a network may differ, keep their random start then, and that is said: its classifier where the weights have
another number of classes, and the auxiliary heads where the weights have none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry.errors import WeightsError
from cnn_registry.networks.graph import main_network
from cnn_registry.registry.spec import Pretrained
from cnn_registry.system.download import download
from cnn_registry.system.paths import weights_dir
from cnn_registry.system.progress import note
from cnn_registry.text import one_line

from .foreign import Foreign, read_keras_model, read_torch, reader_of
from .source import Source, address_digest

if TYPE_CHECKING:
    import keras

SHOWN = 3
"""Mismatches that a message lists."""


def load_weights(source: Source, model: keras.Model, build: Callable[[], keras.Model]) -> None:
    """Load ``source`` into ``model``.

    Args:
        source: where the weights come from.
        model: just built; to be thrown away if this raises.
        build: builds another model of the same form.

    Raises:
        WeightsError: the weights cannot be read, or do not fit; the first mismatches are listed.
        DownloadError: they could not be fetched.
        BackendError: the library that reads them is not installed.
    """
    if source.published is None:
        assert source.path is not None
        replaced = _load_keras_file(model, source.path, build)
    else:
        replaced = fill(model, _read(source, source.published), source.published.names(), source.name)
    if replaced:
        note(f"{source.name} has other classes or no such layers: {', '.join(replaced)} start anew.")


def _read(source: Source, published: Pretrained) -> Foreign:
    """The user's file, or what is published, fetched once."""
    if source.path is not None:
        return read_torch(source.path)
    origin = published.origin
    digest = address_digest(origin)
    if digest is None:
        return read_keras_model(origin)
    path = weights_dir() / origin.rpartition("/")[2]
    reader_of(path.name)  # before a long download
    if not path.exists():
        download([origin], path, digest=f"sha256:{digest}")
    return read_torch(path)


def fill(model: keras.Model, foreign: Foreign, names: Mapping[str, str], what: str) -> list[str]:
    """Give every layer of ``model`` its weights, or raise and give none.

    Args:
        model: a functional or sequential model.
        foreign: the weights.
        names: the name there of each of our layers with weights; others may be among them.
        what: the weights' name, for messages.

    Returns:
        Names of the layers that got nothing: classifiers of other classes, and auxiliary heads.

    Raises:
        WeightsError: anything else differs.
    """
    layers = _with_weights(model)
    heads, main = _output_layers(model), {layer.name for layer in main_network(model).layers}
    flat = _flattened_maps(model) if foreign.channels_first else {}
    values, problems = {}, []
    for layer in layers:
        arrays = foreign.arrays.get(names.get(layer.name, layer.name), {})
        arrays = {name: _by_pixel(array, flat.get(layer.name)) for name, array in arrays.items()}
        found = _mismatches(layer, arrays)
        if not found:
            values[layer] = [arrays[variable.name] for variable in layer.weights]
        elif not (layer.name in heads and _differs_in_classes(layer, arrays)) and (arrays or layer.name in main):
            problems += found
    # The table may name layers of a form that was not built, an auxiliary head for instance.
    placed = {names.get(layer.name, layer.name) for layer in layers} | set(names.values())
    problems += [f"{name}: the model has no such layer" for name in foreign.arrays if name not in placed]
    if problems:
        raise WeightsError(_message(model.name, what, problems))
    for layer, arrays_of_layer in values.items():
        layer.set_weights(arrays_of_layer)
    return [layer.name for layer in layers if layer not in values]


def _mismatches(layer: Any, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """How what a layer gets differs from what it has, a line a variable."""
    expected = {variable.name: tuple(variable.shape) for variable in layer.weights}
    return [
        f"{layer.name}/{name}: expected {expected.get(name, 'none')}, "
        f"got {arrays[name].shape if name in arrays else 'none'}"
        for name in [*expected, *(arrays.keys() - expected.keys())]
        if name not in expected or name not in arrays or arrays[name].shape != expected[name]
    ]


def _differs_in_classes(layer: Any, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the number of outputs is all that differs."""
    return {v.name: tuple(v.shape)[:-1] for v in layer.weights} == {n: a.shape[:-1] for n, a in arrays.items()}


def _message(model: str, what: str, problems: Sequence[str]) -> str:
    listed = "; ".join(problems[:SHOWN]) + ("; ..." if len(problems) > SHOWN else "")
    return (
        f"{what} does not fit {model}, {len(problems)} mismatch{'es' if len(problems) > 1 else ''}: {listed}. "
        f"Weights fit the model, options and input shape that they were trained with."
    )


def _with_weights(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


def _output_layers(model: keras.Model) -> set[str]:
    """Names of the last layers with weights before the model's outputs."""
    producers = _producers(model)
    last = [producers.get(id(tensor)) for tensor in getattr(model, "outputs", [])]
    return {layer.name for layer in (_back(layer, producers, until=()) for layer in last) if layer is not None}


def _producers(model: keras.Model) -> dict[int, Any]:
    """The layer that gives a tensor of the graph, by the tensor's identity."""
    return {id(layer.output): layer for layer in model.layers} if hasattr(model, "outputs") else {}


def _back(layer: Any, producers: Mapping[int, Any], until: Sequence[str]) -> Any:
    """``layer``, or the nearest before it in a row that has weights or is of a class in ``until``; ``None`` if none."""
    while layer is not None and not layer.weights and type(layer).__name__ not in until:
        layer = producers.get(id(layer.input))
    return layer


def _flattened_maps(model: keras.Model) -> dict[str, tuple[int, int, int]]:
    """The shape of the maps that are flattened before a dense layer, by its name.

    Between the two there may be layers without weights, such as dropout.
    """
    producers = _producers(model)
    found = {}
    for layer in _with_weights(model) if producers else ():
        before = _back(producers.get(id(layer.input)), producers, until=("Flatten",))
        if type(before).__name__ == "Flatten" and len(before.input.shape) == 4:
            found[layer.name] = tuple(before.input.shape[1:])
    return found


def _by_pixel(array: np.ndarray, maps: tuple[int, int, int] | None) -> np.ndarray:
    """A kernel on maps flattened channel by channel as one on maps flattened pixel by pixel."""
    if maps is None or array.ndim != 2 or len(array) != np.prod(maps):
        return array
    height, width, channels = maps
    return array.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(array.shape)


def load_exactly(model: keras.Model, path: Path) -> None:
    """Load a ``.weights.h5`` file of a model of the same form, with the same classes.

    Raises:
        WeightsError: the file cannot be read, or another model saved it.
    """
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers in a list that keep their random weights. Of a functional model's own list it
            # warns beside the error that it raises.
            warnings.filterwarnings("error", "Skipping nested container")
            warnings.filterwarnings("ignore", "Skipping nested container at '(.*/)?_operations_by_depth/")
            _check_claims(path)
            model.load_weights(path)
    except Exception as error:  # HDF5 has many for a file that is no longer what it was
        raise WeightsError(
            f"{path} does not fit {model.name} with these classes and options, or is damaged: {one_line(error)}"
        ) from error


def _check_claims(path: Path) -> None:
    """Refuse arrays that say they are larger than the file: Keras makes room for up to 4 GiB before it compares shapes.

    Raises:
        ValueError: there is one. What Keras saves is not compressed.
        OSError: the file is no HDF5.
    """
    import h5py

    size = path.stat().st_size
    with h5py.File(path) as file:

        def check(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.nbytes > size:
                raise ValueError(f"{name} claims {item.nbytes:,} bytes in a file of {size:,}")

        file.visititems(check)


def _load_keras_file(model: keras.Model, path: Path, build: Callable[[], keras.Model]) -> list[str]:
    """Load a ``.weights.h5`` file; gives the layers that start anew, as `fill` does."""
    try:
        load_exactly(model, path)
    except WeightsError as strict:
        # What a training leaves has no auxiliary heads.
        values, missing = _what_fits(main_network(build()), path)
        if not values:
            raise
        if not set(missing) <= _output_layers(model):
            raise WeightsError(f"{strict} First layers that do not fit: {', '.join(missing[:SHOWN])}.") from strict
        for layer, arrays in values.items():
            model.get_layer(layer).set_weights(arrays)
        return [layer.name for layer in _with_weights(model) if layer.name not in values]
    return []


def _what_fits(model: keras.Model, path: Path) -> tuple[dict[str, list[np.ndarray]], list[str]]:
    """What the layers of ``model`` find in a ``.weights.h5`` file, and the layers that find nothing.

    Keras skips what does not fit but does not say which layers that was. So they start from what no file holds.
    """
    for layer in _with_weights(model):
        layer.set_weights([np.full(weight.shape, np.nan) for weight in layer.weights])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.load_weights(path, skip_mismatch=True)
    except Exception:  # told by the strict attempt before
        return {}, [layer.name for layer in _with_weights(model)]
    values = {layer.name: layer.get_weights() for layer in _with_weights(model)}
    missing = [name for name, arrays in values.items() if any(np.isnan(array).any() for array in arrays)]
    return {name: arrays for name, arrays in values.items() if name not in missing}, missing
