"""Repositories that are damaged or made to harm: one line, nothing kept, nothing outside the cache."""

from __future__ import annotations

import json
import struct
import threading
from pathlib import Path

import pytest

from cnn_registry import get_spec, load_run
from cnn_registry.errors import CnnRegistryError, HubError, UsageError
from cnn_registry.networks.weights import hub as fetching
from cnn_registry.networks.weights.foreign import read_torch
from cnn_registry.networks.weights.source import find_source
from cnn_registry.system import hub as client
from cnn_registry.system.hub import Address, hub_address
from tests.conftest import Cnnreg
from tests.hub.conftest import NAME
from tests.hub.fake import Handler, Hub, Repository


def safetensors(metadata: dict[str, str], tensors: dict[str, int]) -> bytes:
    """A file with float32 vectors of so many zeros."""
    header: dict[str, object] = {"__metadata__": metadata}
    place = 0
    for name, count in tensors.items():
        header[name] = {"dtype": "F32", "shape": [count], "data_offsets": [place, place + 4 * count]}
        place += 4 * count
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(place)


def layout(**changes: object) -> bytes:
    facts = {"arrays": {"layers/a/vars/0": "a"}, "layers": {}, "class_names": ["x"]} | changes
    return safetensors({"cnn_registry": json.dumps(facts)}, {"a": 3})


FAULTS: dict[str, tuple[str, bytes]] = {
    "no tensors": ("model.safetensors", b"not safetensors"),
    "a length beyond the file": ("model.safetensors", struct.pack("<Q", 2**60) + b"{}"),
    "no layout": ("model.safetensors", safetensors({}, {"a": 3})),
    "a layout that is not JSON": ("model.safetensors", safetensors({"cnn_registry": "{"}, {"a": 3})),
    "nested": ("model.safetensors", safetensors({"cnn_registry": "[" * 10_000}, {"a": 3})),
    "another form": ("model.safetensors", layout(arrays=["a"])),
    "a newer form": ("model.safetensors", layout(format=2)),
    "names of numbers": ("model.safetensors", layout(class_names=[1])),
    "a tensor that is not there": ("model.safetensors", layout(arrays={"layers/a/vars/0": "b"})),
    "a tensor that is many arrays": (
        "model.safetensors",
        layout(arrays={f"layers/a/vars/{number}": "a" for number in range(3)}),
    ),
    "a name that leads up": ("model.safetensors", layout(arrays={"layers/../../x": "a"})),
    "our own group": ("model.safetensors", layout(arrays={"cnn_registry/class_names": "a"})),
    "a group that is not there": ("model.safetensors", layout(layers={"nowhere": "a"})),
    "weights of another network": ("model.safetensors", layout()),
    "no record": ("run.json", b"{}"),
    "a record that is not JSON": ("run.json", b"\x00" * 100),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_hostile_repository_is_one_line(published: Repository, own_cache: Path, fault: str) -> None:
    name, data = FAULTS[fault]
    published.commit(published.head() | {name: data})
    with pytest.raises(CnnRegistryError) as refused:
        load_run(NAME).model()
    assert "\n" not in str(refused.value)
    assert not list((own_cache / "hub").rglob(".fetching-*"))


@pytest.mark.usefixtures("published")
def test_what_is_too_large_is_not_downloaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fetching.RUN_FILES, "history.csv", 10)
    hub.requests.clear()
    with pytest.raises(HubError, match=r"history.csv in hf://user/colours has .* at most 10 are read"):
        load_run(NAME)
    assert not [request for request in hub.requests if "resolve" in request]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("size", [{"a": 1}, ["x"], -5, "5", 1e300])
def test_a_size_that_is_not_a_number_of_bytes_is_refused(monkeypatch: pytest.MonkeyPatch, size: object) -> None:
    entry = Handler._entry
    monkeypatch.setattr(Handler, "_entry", lambda self, name, data: entry(self, name, data) | {"size": size})
    with pytest.raises(HubError, match=r"has an unknown number of bytes; at most .* are read"):
        load_run(NAME)


@pytest.mark.usefixtures("published")
def test_other_bytes_than_were_announced_are_refused(hub: Hub, own_cache: Path) -> None:
    hub.tamper["history.csv"] = b"epoch\n" * 100_000
    with pytest.raises(HubError, match="is not the file of"):
        load_run(NAME)
    assert not list((own_cache / "hub").rglob("run.json"))


@pytest.mark.parametrize(
    ("arrived", "is_over"), [((0, 0.0), False), ((0, 61.0), True), ((10, 0.0), False), ((3 * 2**20, 0.0), True)]
)
def test_a_download_that_stalls_or_never_ends_is_left_alone(
    tmp_path: Path, arrived: tuple[int, float], is_over: bool
) -> None:
    done: list[int] = []
    watch = client._Arrivals(tmp_path, 2**20, done.append)
    size, later = arrived
    (tmp_path / "file.incomplete").write_bytes(bytes(size))
    assert watch(0.0, watch._last + later) is is_over
    assert sum(done) == min(size, 2**20)


def test_a_hub_that_never_answers_is_left_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
    with pytest.raises(HubError, match="the hub is too slow"):
        client.asked(Address("user/name"), lambda api: silent.wait(30), 0.2)
    silent.set()


def test_a_state_dict_in_a_repository_is_read_as_a_file(hub: Hub, cnnreg: Cnnreg) -> None:
    hub.repositories["user/dict"] = Repository()
    hub.repositories["user/dict"].commit({"model.safetensors": safetensors({}, {"a": 3}), "x.bin": b"x" * 100})
    source = find_source(get_spec("resnet18"), "hf://user/dict")
    assert source.published is not None
    assert source.path is not None
    assert read_torch(source.path).arrays.keys() == {""}  # the one tensor has no layer
    assert not [request for request in hub.requests if "x.bin" in request]
    ended = cnnreg("predict", "hf://user/dict", "a.png")
    assert (ended.code, "does not hold a run that cnnreg push wrote" in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("hf://user/name", Address("user/name")),
        ("hf:/user/name", Address("user/name")),
        ("hf:\\user\\name@v1.0", Address("user/name", "v1.0")),
        ("hf://user/na.me-1@refs/pr/2", Address("user/na.me-1", "refs/pr/2")),
        ("runs/hf", None),
        ("hf", None),
        ("./hf:/user/name", None),
    ],
)
def test_addresses(name: str, address: Address | None) -> None:
    assert hub_address(name) == address


@pytest.mark.parametrize("name", ["hf://x", "hf://x/y/z", "hf://x/..", "hf://x/y@", "hf://x/y@../z", "hf://-x/y"])
def test_addresses_of_another_form(name: str) -> None:
    with pytest.raises(UsageError, match="A repository is named hf://user/name"):
        hub_address(name)
