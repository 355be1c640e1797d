"""Keras' own weights files, ``.weights.h5``: read whole or refused. Those of a run name their classes and are sealed.

Keras finds a layer's weights by the layer's class and position. What it does not find keeps its values, in some cases
without an error, so after reading it is checked that every weight came from the file and that none is left in it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry.errors import WeightsError
from cnn_registry.system.progress import note
from cnn_registry.system.quiet import without_warnings
from cnn_registry.text import one_line, shorten

if TYPE_CHECKING:
    import h5py
    import keras

GROUP, CLASSES, DIGEST = "cnn_registry", "class_names", "sha256"
"""Where a file has our own: a group, in it the names of the classes as JSON, and as its attribute the digest."""

MARKS = {"f": (0.1928374, 0.5647382), "i": (93, 57), "u": (93, 57), "b": (True, False)}
"""Values that weights get before a file is read, by the kind of their type. A weight that has them afterwards is not in
the file; one that was there has them by chance at most once."""

SHOWN, LONGEST = 5, 40
"""Classes that a note lists, and letters of each."""

MAX_RECORD = 2**28
"""The largest ``run.json`` that is searched for names of classes."""


def stamp(path: Path, class_names: Sequence[str]) -> None:
    """Add the names of the classes, in the order of the outputs, and a digest of everything to a file Keras wrote."""
    import h5py

    with h5py.File(path, "r+") as file:
        group = file.create_group(GROUP)
        group[CLASSES] = np.frombuffer(json.dumps(list(class_names)).encode(), np.uint8)
        group.attrs[DIGEST] = _digest(arrays_of(file))


def stored_class_names(path: Path) -> tuple[str, ...] | None:
    """The classes that the weights in a file were trained on; ``None`` where neither it nor a run around it says so.

    Raises:
        WeightsError: the file says so in a form that is not ours.
    """
    import h5py

    with h5py.File(path) as file:
        names = arrays_of(file).get(f"{GROUP}/{CLASSES}")
        stored = b"" if names is None else names[...].tobytes()
    if not stored:  # the file of an older run, or of Keras alone
        record = path.parent / "run.json"
        if not record.is_file() or record.stat().st_size > MAX_RECORD:
            return None
        try:
            return tuple(map(str, json.loads(record.read_bytes())["data"]["class_names"]))
        except (ValueError, RecursionError, LookupError, TypeError):  # no record of a run
            return None
    try:
        listed = json.loads(stored)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise WeightsError(f"{path} is damaged: the names of its classes cannot be read.")
    return tuple(listed)


def load_exactly(model: keras.Model, path: Path, class_names: Sequence[str] | None = None) -> None:
    """Load a file that was saved from a model of the same form.

    Args:
        model: to be thrown away if this raises.
        path: the file.
        class_names: the classes of the outputs, if they are known. Where the file names others, a note is printed.

    Raises:
        WeightsError: the file cannot be read, is not as it was written, belongs to another model, or has the classes in
            another order.
    """
    try:
        check(path)
        stored = stored_class_names(path) if class_names is not None else None
        missing = unread(model, path)
        left = sorted(_stored(path) - _stored_by(model)) if _counts_differ(model, path) else []
    except WeightsError:
        raise
    except Exception as error:  # HDF5 has many for a file that is no longer what it was
        raise WeightsError(
            f"{path} does not fit {model.name} with these classes and options, or is damaged: {one_line(error)}."
        ) from error
    if missing or left:
        what = f"it has no weights for {missing[0].path}" if missing else f"{model.name} has no place for {left[0]}"
        raise WeightsError(f"{path} does not fit {model.name} with these classes and options: {what}.")
    if stored is not None and class_names is not None and stored != tuple(class_names):
        names = ", ".join(shorten(name, LONGEST) for name in stored[:SHOWN]) + (", ..." if len(stored) > SHOWN else "")
        if sorted(stored) == sorted(class_names):
            raise WeightsError(f"{path} has the classes in another order: {names}. Restore the file of this run.")
        note(f"{path} was trained on classes of other names: {names}.")


def check(path: Path) -> None:
    """Refuse a file that is not as it was written, or that claims or points to what is not in it.

    Raises:
        ValueError: it is one.
        OSError: it is not an HDF5 file.
    """
    import h5py

    size = path.stat().st_size
    with h5py.File(path) as file:
        arrays = arrays_of(file)
        for name, array in arrays.items():
            # Keras makes room for up to 4 GiB before it compares shapes. What it saves is not compressed.
            if array.nbytes > size:
                raise ValueError(f"{name} claims {array.nbytes:,} bytes in a file of {size:,}")
            if array.is_virtual or array.external:
                raise ValueError(f"{name} is stored in another file")
        is_ours = isinstance(file.get(GROUP, getlink=True), h5py.HardLink)  # not a link, which may lead anywhere
        digest = file[GROUP].attrs.get(DIGEST) if is_ours else None
        if digest is not None and digest != _digest(arrays):
            raise ValueError("it is not what was written: its SHA-256 does not match")


def unread(model: keras.Model, path: Path, *, skip_mismatch: bool = False) -> list[keras.Variable]:
    """Load a file as Keras does, and find the weights that did not come from it; those hold no useful values then.

    Raises:
        Exception: whatever Keras and HDF5 raise; with ``skip_mismatch`` not for a layer that the file does not fit.
    """
    weights = [weight for weight in model.weights if np.prod(weight.shape)]
    for choice in range(2):
        _mark(weights, choice)
        with without_warnings():  # they speak of what is found here
            model.load_weights(path, skip_mismatch=skip_mismatch)
        weights = [weight for weight in weights if np.array_equal(np.asarray(weight), _filled(weight, choice))]
        if not weights:
            break
    return weights


def _mark(weights: Iterable[keras.Variable], choice: int) -> None:
    for weight in weights:
        weight.assign(_filled(weight, choice))


def _filled(weight: keras.Variable, choice: int) -> np.ndarray:
    dtype = np.asarray(weight).dtype
    return np.full(weight.shape, MARKS.get(dtype.kind, MARKS["f"])[choice], dtype)


def arrays_by_layer(path: Path) -> dict[str, list[np.ndarray]]:
    """The arrays of each layer by the name that the layer had, in the order of its weights.

    Empty where the names do not tell the layers apart, and without layers that hold other layers.
    """
    import h5py

    places: dict[str, dict[int, np.ndarray]] = {}
    found: dict[str, list[np.ndarray]] = {}
    with h5py.File(path) as file:
        for name, array in arrays_of(file).items():
            place, _, key = name.rpartition("/")
            if place.count("/") == 2 and place.endswith("/vars") and key.isdecimal():
                places.setdefault(place, {})[int(key)] = array[...]
        for place, arrays in places.items():
            name = str(file[place].attrs.get("name"))
            if name in found:
                return {}
            found[name] = [arrays[key] for key in sorted(arrays)]
    return found


def _counts_differ(model: keras.Model, path: Path) -> bool:
    return len(_stored(path)) != len(model.weights)


def _stored(path: Path) -> set[str]:
    """The names of the weights in a file, without an optimizer's, our own, and the states of random generators."""
    import h5py

    with h5py.File(path) as file:
        others = ("optimizer/", f"{GROUP}/")
        return {name for name in arrays_of(file) if not name.startswith(others) and "seed_generator" not in name}


def _stored_by(model: keras.Model) -> set[str]:
    """The names of the weights in the file that ``model`` would write, whatever its layers do when they are saved."""
    with tempfile.TemporaryDirectory(prefix="cnnreg-weights-") as folder:
        path = Path(folder) / "model.weights.h5"
        model.save_weights(path)
        return _stored(path)


def arrays_of(file: h5py.File) -> dict[str, h5py.Dataset]:
    """All arrays that lie in a file by their names, in the order of these. Links are not followed."""
    import h5py

    found: dict[str, Any] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return dict(sorted(found.items()))


def _digest(arrays: dict[str, h5py.Dataset]) -> str:
    digest = sha256()
    for name, array in arrays.items():
        digest.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array[...]).data.cast("B") if array.size else b"")
    return digest.hexdigest()
