"""Bring weights into a model, all of them or none.

Two parts of a network may differ. They keep their random initialization then, and a note names them: its classifier,
where the weights have other classes, and its auxiliary heads, where the weights have none. Kernels that were trained on
RGB are adapted to grey images, and to those with more channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnn_registry import backend
from cnn_registry.errors import CnnRegistryError, WeightsError
from cnn_registry.networks.graph import main_network
from cnn_registry.registry.spec import Pretrained
from cnn_registry.system.download import download
from cnn_registry.system.isolation import isolated
from cnn_registry.system.paths import weights_dir
from cnn_registry.system.progress import note
from cnn_registry.text import one_line

from .foreign import Foreign, read_keras_model, read_torch
from .hub import fetched_weights
from .images import COLOURS, first_convolutions, note_adapted, of_other_channels
from .keras_file import arrays_by_layer, load_exactly, stored_class_names, unread
from .safetensors_file import to_keras_file
from .source import KERAS_FILE, Source, address_digest, published_address
from .torch_file import need_reader

if TYPE_CHECKING:
    import keras

SHOWN = 3
"""Mismatches that a message lists."""


class Rebuild(Protocol):
    """Builds another model of the same form, whole; for images with another number of channels if asked to."""

    def __call__(self, channels: int = ..., /) -> keras.Model:
        """The model."""
        ...


def load_weights(
    source: Source,
    model: keras.Model,
    build: Rebuild,
    *,
    class_names: Sequence[str] | None = None,
    is_part: bool = False,
) -> None:
    """Load ``source`` into ``model``.

    Where the classes of both are known, their names decide: the same in another order are reordered in the classifier;
    where any differs, the classifier keeps its random initialization.

    Args:
        source: where the weights come from.
        model: just built; to be thrown away if this raises.
        build: see `Rebuild`.
        class_names: the classes that the model is for, in the order of its outputs, if they are known.
        is_part: whether ``model`` is only a part of what ``build`` returns, without the classifier.

    Raises:
        WeightsError: the weights cannot be read, or do not fit; the first mismatches are listed.
        DownloadError: they could not be fetched.
        MissingPackageError: the library that reads them is not installed.
    """
    if source.published is None and source.path is not None and source.path.suffix == ".safetensors":
        with TemporaryDirectory(prefix="cnnreg-weights-") as folder:
            path = Path(folder) / f"model{KERAS_FILE}"
            to_keras_file(source.path, path)
            as_keras = replace(source, path=path)
            load_weights(as_keras, model, build, class_names=class_names, is_part=is_part)
        return
    stored: tuple[str, ...] | None = None
    first = {} if is_part else _weights_that_may_differ(model)
    if source.published is not None:
        random = fill(model, _read(source, source.published), _names(source), source.name, is_part=is_part)
    elif is_part:
        assert source.path is not None
        random = _load_part(model, source.path, build)
    else:
        assert source.path is not None
        random = _load_keras_file(model, source.path, build, first)
        stored = stored_class_names(source.path)
    if class_names is not None and not is_part:
        random += _match_classes(model, source.name, first, set(random), stored, tuple(class_names))
    if random:
        differs = "does not match all layers"
        if stored is not None and class_names is not None:
            differs = (
                f"was trained on other classes (it has {len({*stored} & {*class_names})} of these {len(class_names)})"
            )
        note(f"{source.name} {differs}; these keep their random initialization: {', '.join(random)}.")


def _names(source: Source) -> Mapping[str, str]:
    """The name that each layer has in published weights.

    Raises:
        WeightsError: the plugin's function that knows them failed.
    """
    assert source.published is not None
    try:
        with isolated(f"Naming the layers of {source.name}"):
            return source.published.names()
    except (Exception, SystemExit) as error:  # the plugin's code
        raise WeightsError(f"The names of the layers in {source.name} could not be had: {one_line(error)}.") from error


def _match_classes(
    model: keras.Model,
    what: str,
    first: Mapping[str, Sequence[np.ndarray]],
    random: set[str],
    stored: tuple[str, ...] | None,
    wanted: tuple[str, ...],
) -> list[str]:
    """Make classifiers that were loaded ones for the wanted classes.

    Args:
        model: the model.
        what: the weights' name.
        first: weights before anything was loaded, by the layer's name.
        random: names of the layers that nothing was loaded into.
        stored: the classes of the weights, if they are known.
        wanted: the classes of the model.

    Returns:
        Names of the classifiers that were given back their first weights.
    """
    heads = [model.get_layer(name) for name in sorted(_output_layers(model) - random)]
    names = ", ".join(head.name for head in heads)
    if not heads or stored == wanted:
        return []
    if stored is None:
        note(f"{what} does not name its classes; it has {len(wanted)} as well, so its weights of {names} are kept.")
        return []
    if sorted(stored) == sorted(wanted) and all(_has_one_output_per_class(head, len(wanted)) for head in heads):
        order = [stored.index(name) for name in wanted]
        for head in heads:
            head.set_weights([array[..., order] for array in head.get_weights()])
        note(f"{what} has the same classes in another order; the outputs of {names} are reordered by name.")
        return []
    for head in heads:
        head.set_weights(first[head.name])
    return [head.name for head in heads]


def _has_one_output_per_class(layer: Any, classes: int) -> bool:
    """Whether a layer computes the output of each class from weights of that class, the last along each axis."""
    layers = backend.keras().layers
    is_known = isinstance(layer, layers.Dense | layers.Conv2D)
    return is_known and all(weight.shape[-1] == classes for weight in layer.weights)


def _read(source: Source, published: Pretrained) -> Foreign:
    """The user's file, or what is published, fetched once."""
    if source.path is not None:
        return read_torch(source.path)
    if address := published_address(published):
        return read_torch(fetched_weights(address))
    origin = published.origin
    digest = address_digest(origin)
    if digest is None:
        return read_keras_model(origin)
    path = weights_dir() / origin.rpartition("/")[2]
    need_reader(path.name)  # before a long download
    if not path.exists():
        download([origin], path, digest=f"sha256:{digest}")
    return read_torch(path)


def fill(
    model: keras.Model, foreign: Foreign, names: Mapping[str, str], what: str, *, is_part: bool = False
) -> list[str]:
    """Give every layer of ``model`` its weights, or raise and give none.

    Args:
        model: a functional or sequential model.
        foreign: the weights.
        names: the name there of each of our layers with weights; others may be among them.
        what: the weights' name, for messages.
        is_part: whether the model lacks the classifier; the weights may have more layers then.

    Returns:
        Names of the layers that got nothing: classifiers of other classes, and auxiliary heads.

    Raises:
        WeightsError: anything else differs.
    """
    layers = _with_weights(model)
    heads = set() if is_part else _output_layers(model)
    main = {layer.name for layer in (model if is_part else main_network(model)).layers}
    flat, dense = _flattened_maps(model) if foreign.channels_first else {}, backend.keras().layers.Dense
    values, problems, images, adapted = {}, [], first_convolutions(model), []
    for layer in layers:
        arrays = foreign.arrays.get(names.get(layer.name, layer.name), {})
        arrays = {name: _by_pixel(array, flat.get(layer.name)) for name, array in arrays.items()}
        if isinstance(layer, dense):
            arrays = {name: _as_matrix(array) for name, array in arrays.items()}
        found = _mismatches(layer, arrays)
        if found and layer.name in images:
            arrays = of_other_channels(layer, arrays)
            if not (found := _mismatches(layer, arrays)):
                adapted.append(layer.name)
        if not found:
            values[layer] = [arrays[variable.name] for variable in layer.weights]
        elif not (layer.name in heads and _differs_in_classes(layer, arrays)) and (arrays or layer.name in main):
            problems += found
    # The table may name layers of a form that was not built, an auxiliary head for instance.
    placed = {names.get(layer.name, layer.name) for layer in layers} | set(names.values())
    if not is_part:
        problems += [f"{name}: the model has no such layer" for name in foreign.arrays if name not in placed]
    if problems:
        raise WeightsError(_message(model.name, what, problems))
    for layer, arrays_of_layer in values.items():
        layer.set_weights(arrays_of_layer)
    note_adapted(model, what, adapted)
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
    return {layer.name for layer in (_back(layer, producers) for layer in last) if layer is not None}


def _producers(model: keras.Model) -> dict[int, Any]:
    """The layer that gives a tensor of the graph, by the tensor's identity."""
    return {id(layer.output): layer for layer in model.layers} if hasattr(model, "outputs") else {}


def _back(layer: Any, producers: Mapping[int, Any], until: type | tuple[()] = ()) -> Any:
    """``layer``, or the nearest before it in a row that has weights or is an ``until``; ``None`` if there is none."""
    while layer is not None and not layer.weights and not isinstance(layer, until):
        layer = producers.get(id(layer.input))
    return layer


def _flattened_maps(model: keras.Model) -> dict[str, tuple[int, int, int]]:
    """The shape of the maps that are flattened before a dense layer, by its name.

    Between the two there may be layers without weights, such as dropout.
    """
    flatten, producers = backend.keras().layers.Flatten, _producers(model)
    found = {}
    for layer in _with_weights(model) if producers else ():
        before = _back(producers.get(id(layer.input)), producers, until=flatten)
        if isinstance(before, flatten) and len(before.input.shape) == 4:
            found[layer.name] = tuple(before.input.shape[1:])
    return found


def _by_pixel(array: np.ndarray, maps: tuple[int, int, int] | None) -> np.ndarray:
    """A kernel on maps flattened channel by channel as one on maps flattened pixel by pixel."""
    if maps is None or array.ndim != 2 or len(array) != np.prod(maps):
        return array
    height, width, channels = maps
    return array.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(array.shape)


def _as_matrix(array: np.ndarray) -> np.ndarray:
    """The kernel of a convolution that covers its whole map as that of a dense layer on the flattened map."""
    return array.reshape(-1, array.shape[-1]) if array.ndim == 4 else array


def _weights_that_may_differ(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """The weights of classifiers and auxiliary heads, by the layer's name."""
    main, outputs = {layer.name for layer in main_network(model).layers}, _output_layers(model)
    layers = (layer for layer in _with_weights(model) if layer.name in outputs or layer.name not in main)
    return {layer.name: layer.get_weights() for layer in layers}


def _load_keras_file(
    model: keras.Model, path: Path, build: Rebuild, first: Mapping[str, list[np.ndarray]]
) -> list[str]:
    """Load a ``.weights.h5`` file; returns the names of the layers that get their ``first`` weights, as `fill` does."""
    try:
        load_exactly(model, path)
    except WeightsError as strict:
        if (random := _load_adapted(model, path, build, first)) is not None:
            return random
        # What a training leaves has no auxiliary heads.
        values, missing = _what_fits(main_network(build()), path)
        if not values:
            raise
        if not set(missing) <= _output_layers(model):
            raise WeightsError(f"{strict} First layers that do not fit: {', '.join(missing[:SHOWN])}.") from strict
        for layer in _with_weights(model):
            layer.set_weights(values.get(layer.name, first.get(layer.name)))
        return [layer.name for layer in _with_weights(model) if layer.name not in values]
    return []


def _load_adapted(
    model: keras.Model, path: Path, build: Rebuild, first: Mapping[str, list[np.ndarray]]
) -> list[str] | None:
    """Load a ``.weights.h5`` file of the network for RGB into that for other images, as `_load_keras_file` does.

    Returns ``None`` where the file is of another kind.
    """
    convolutions, values = first_convolutions(model), {}
    if not convolutions:
        return None
    try:
        colours = build(COLOURS)
        random = _load_keras_file(colours, path, partial(build, COLOURS), _weights_that_may_differ(colours))
    except CnnRegistryError:  # which is reported for the network itself
        return None
    kept = []
    for layer, own in zip(_with_weights(model), _with_weights(colours), strict=True):
        if own.name in random:
            kept.append(layer.name)
            values[layer] = first[layer.name]
            continue
        arrays = {variable.name: np.asarray(variable) for variable in own.weights}
        if layer.name in convolutions:
            arrays = of_other_channels(layer, arrays)
        if _mismatches(layer, arrays):
            return None
        values[layer] = [arrays[variable.name] for variable in layer.weights]
    for layer, arrays_of_layer in values.items():
        layer.set_weights(arrays_of_layer)
    note_adapted(model, str(path), sorted(convolutions))
    return kept


def _what_fits(model: keras.Model, path: Path) -> tuple[dict[str, list[np.ndarray]], list[str]]:
    """What the layers of ``model`` find in a ``.weights.h5`` file, and the layers that do not find everything."""
    try:
        absent = {id(weight) for weight in unread(model, path, skip_mismatch=True)}
    except Exception:  # reported by the strict attempt before
        return {}, [layer.name for layer in _with_weights(model)]
    layers = _with_weights(model)
    missing = [layer.name for layer in layers if any(id(weight) in absent for weight in layer.weights)]
    return {layer.name: layer.get_weights() for layer in layers if layer.name not in missing}, missing


def _load_part(model: keras.Model, path: Path, build: Rebuild) -> list[str]:
    """Load a ``.weights.h5`` file of the same part, or of a whole network, into a network without its classifier."""
    try:
        load_exactly(model, path)
    except WeightsError:
        if not _is_read_by_name(model, path):
            whole = build()
            _load_keras_file(whole, path, build, _weights_that_may_differ(whole))
            for layer in _with_weights(model):
                layer.set_weights(whole.get_layer(layer.name).get_weights())
    return []


def _is_read_by_name(model: keras.Model, path: Path) -> bool:
    """Whether what Keras just read from the file of a larger network has the name of each layer there.

    Keras goes by the order of layers of a class, which the part that is missing may change.
    """
    try:
        stored = arrays_by_layer(path)
        return not unread(model, path) and all(
            layer.name in stored and _are_equal(stored[layer.name], layer.get_weights())
            for layer in _with_weights(model)
        )
    except Exception:  # as it does for the whole network, which is tried next and reports it
        return False


def _are_equal(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))
