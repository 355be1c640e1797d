"""Weights files that are damaged, foreign or made to harm: one line, no code of theirs, and little memory."""

from __future__ import annotations

import itertools
import json
import pickle
import resource
import struct
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_registry import backend, create_model
from cnn_registry.errors import WeightsError
from cnn_registry.networks.weights.foreign import read_torch
from cnn_registry.networks.weights.keras_file import load_exactly

if TYPE_CHECKING:
    import keras

Model = Any
ALLOWED = 64 * 2**20
"""Bytes that a file of a few kilobytes may take while it is read."""

_number = itertools.count()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras = backend.keras()
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(x), name="small")


@pytest.fixture(scope="module")
def saved(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("saved") / "small.weights.h5"
    model.save_weights(path)
    return path


def refusal(load: Callable[[], object]) -> str:
    """The one line with which weights are refused, without much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tracemalloc.start()
    with pytest.raises(WeightsError) as caught:
        load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ALLOWED
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < before + ALLOWED
    assert str(caught.value).isprintable()
    return str(caught.value)


@given(
    edits=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), max_size=4),
    share=st.floats(0, 1) | st.just(1.0),
)
def test_a_damaged_keras_file_is_loaded_or_refused_in_one_line(
    model: keras.Model, saved: Path, tmp_path: Path, edits: list[tuple[int, int]], share: float
) -> None:
    content = bytearray(saved.read_bytes())
    for place, mask in edits:
        content[place % len(content)] ^= mask
    # HDF5 remembers a file that it failed to read, so each has a name of its own.
    file = tmp_path / f"{next(_number)}.weights.h5"
    file.write_bytes(content[: int(len(content) * share)])
    try:
        load_exactly(model, file)
        message = ""
    except WeightsError as error:
        message = str(error)
    assert message.isprintable()
    assert message or share > 0.5


def test_no_array_of_a_keras_file_is_larger_than_the_file(model: keras.Model, saved: Path, tmp_path: Path) -> None:
    import h5py

    for edge in (2**14, 2**20, 2**31):
        bomb = tmp_path / f"{edge}.weights.h5"
        bomb.write_bytes(saved.read_bytes())
        with h5py.File(bomb, "r+") as file:
            kernel = file["layers/conv2d/vars/0"].name
            del file[kernel]
            file.create_dataset(kernel, (edge, edge), "float32", chunks=(1024, 1024), compression="gzip")
        assert f"claims {edge * edge * 4:,} bytes in a file of" in refusal(partial(load_exactly, model, bomb))


@pytest.mark.parametrize("kind", ["external", "soft", "hard", "virtual", "stored elsewhere", "text"])
def test_a_keras_file_cannot_point_elsewhere(model: keras.Model, saved: Path, tmp_path: Path, kind: str) -> None:
    import h5py

    hostile, other = tmp_path / "hostile.weights.h5", tmp_path / "other.h5"
    hostile.write_bytes(saved.read_bytes())
    other.write_bytes(saved.read_bytes())
    with h5py.File(hostile, "r+") as file:
        name = "layers/conv2d/vars/0"
        shape = file[name].shape
        del file[name]
        if kind == "external":
            file[name] = h5py.ExternalLink(str(other), name)
        elif kind == "soft":
            file[name] = h5py.SoftLink("/layers/dense/vars/0")
        elif kind == "hard":
            file[name] = file["layers"]
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, "float32")
            layout[...] = h5py.VirtualSource(str(other), name, shape)
            file.create_virtual_dataset(name, layout)
        elif kind == "stored elsewhere":
            file.create_dataset(name, shape, "float32", external=[(str(other), 0, 432)])
        else:
            file.create_dataset(name, data=np.full(shape, "text", h5py.string_dtype()))
    assert "hostile.weights.h5 does not fit small" in refusal(lambda: load_exactly(model, hostile))


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


SAFETENSORS = {
    "petabytes": header(a={"dtype": "F32", "shape": [2**48], "data_offsets": [0, 2**50]}) + bytes(64),
    "a petabyte of header": struct.pack("<Q", 2**50) + b"{}",
    "overflow": header(a={"dtype": "F64", "shape": [2**62, 2**62], "data_offsets": [0, 8]}) + bytes(8),
    "negative": header(a={"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}) + bytes(4),
    "backwards": header(a={"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}) + bytes(4),
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "no JSON": struct.pack("<Q", 4) + b"\xff\xfe\x1b[",
    "nothing": b"",
    "an unknown type": header(a={"dtype": "\x1b[31m", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
}


@pytest.mark.parametrize("content", SAFETENSORS.values(), ids=SAFETENSORS.keys())
def test_what_safetensors_claims_is_not_believed(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hostile.safetensors"
    file.write_bytes(content)
    assert "hostile.safetensors cannot be read as safetensors: " in refusal(lambda: read_torch(file))


class Touch:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_a_pickle_is_never_read(tiny: str, model: keras.Model, tmp_path: Path, suffix: str) -> None:
    file, victim = tmp_path / f"hostile{suffix}", tmp_path / "victim"
    file.write_bytes(pickle.dumps(Touch(victim)))
    refusal(lambda: load_exactly(model, file) if suffix == ".weights.h5" else read_torch(file))
    assert not victim.exists()


def test_a_whole_model_with_code_in_it_is_not_a_weights_file(tiny: str, tmp_path: Path) -> None:
    keras, victim = backend.keras(), tmp_path / "victim"
    name = str(victim)
    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Lambda(lambda x: (Path(name).write_text(""), x)[1])(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "whole.keras")
    victim.unlink()
    (tmp_path / "whole.keras").rename(tmp_path / "whole.weights.h5")
    assert "whole.weights.h5 does not fit tiny" in refusal(
        lambda: create_model(tiny, weights=tmp_path / "whole.weights.h5")
    )
    assert not victim.exists()
