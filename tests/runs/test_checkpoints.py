"""Checkpoints: what is read is what was written, or is refused; what cannot be written leaves what was there."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import resource
import signal
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from cnn_registry.errors import RunError
from cnn_registry.runs.checkpoints import Checkpoints
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.snapshot import ArraySpec, Layout, Snapshot

LAYOUT = Layout(
    10,
    {
        "model": [ArraySpec("conv/kernel", (3, 3, 3, 8), "float32"), ArraySpec("dropout/seed", (2,), "uint32")],
        "optimizer": [ArraySpec("iteration", (), "int64"), ArraySpec("conv_kernel_momentum", (500,), "float32")],
        "average": [],
    },
)


def snapshot(step: int) -> Snapshot:
    random = np.random.default_rng(step)
    kernel, momentum = random.normal(size=(3, 3, 3, 8)).astype("float32"), random.normal(size=500).astype("float32")
    arrays: dict[str, dict[str, np.ndarray]] = {
        "model": {"conv/kernel": kernel, "dropout/seed": np.array([step, 1], "uint32")},
        "optimizer": {"iteration": np.array(step), "conv_kernel_momentum": momentum},
        "metrics": {"loss/total": np.array(step / 3, "float32"), "loss/count": np.array(8, "float32")},
        "average": {},
    }
    history = tuple(Epoch(n + 1, 1 / 3, 0.5, float("nan"), 0.1, 1e-3, 2.5, 100.0) for n in range(step // 10))
    return Snapshot(step, 0.1 + step, history, (1, step), arrays)


def assert_same(one: Snapshot | None, other: Snapshot) -> None:
    assert one is not None
    assert (one.step, one.seconds, one.averaged, repr(one.history)) == (
        other.step,
        other.seconds,
        other.averaged,
        repr(other.history),
    )
    for group, arrays in other.arrays.items():
        assert list(one.arrays[group]) == list(arrays)
        assert [(a.dtype, a.shape, a.tobytes()) for a in one.arrays[group].values()] == [
            (a.dtype, a.shape, a.tobytes()) for a in arrays.values()
        ]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    (tmp_path / "best.weights.h5").write_bytes(b"best of its time")
    return Checkpoints(tmp_path / "checkpoints", tmp_path / "best.weights.h5")


def test_what_is_read_is_what_was_written(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest(LAYOUT) is None
    checkpoints.save(snapshot(7))
    assert_same(checkpoints.latest(LAYOUT), snapshot(7))
    checkpoints.save(snapshot(31))
    assert_same(checkpoints.latest(LAYOUT), snapshot(31))


def test_the_latest_two_are_kept_and_later_ones_go_with_what_is_damaged(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        checkpoints.save(snapshot(step))
    assert sorted(path.name for path in checkpoints.path.iterdir()) == ["step-000000002", "step-000000003"]
    (checkpoints.path / "step-000000003" / "state.json").unlink()
    assert_same(checkpoints.latest(LAYOUT), snapshot(2))
    assert [path.name for path in checkpoints.path.iterdir()] == ["step-000000002"]


def test_a_checkpoint_brings_back_the_best_weights_of_its_time(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(1))
    later = checkpoints.best.with_name("later")
    later.write_bytes(b"of a later epoch")
    later.replace(checkpoints.best)
    checkpoints.latest(LAYOUT)
    assert checkpoints.best.read_bytes() == b"best of its time"
    assert sorted(path.name for path in checkpoints.best.parent.iterdir()) == ["best.weights.h5", "checkpoints"]


def test_a_step_can_be_written_again(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(5))
    changed = dict(snapshot(5).arrays) | {"metrics": {"loss/total": np.array(9, "float32")}}
    again = Snapshot(5, 0.0, (), (0, 0), changed)
    checkpoints.save(again)
    assert_same(checkpoints.latest(LAYOUT), again)


def test_every_flipped_bit_is_detected(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(20))
    [directory] = checkpoints.path.iterdir()
    files = sorted(directory.iterdir())
    random = np.random.default_rng(0)
    for _ in range(150):
        file = files[random.integers(len(files))]
        content = file.read_bytes()
        position, bit = int(random.integers(len(content))), int(random.integers(8))
        flipped = bytearray(content)
        flipped[position] ^= 1 << bit
        file.write_bytes(flipped)
        assert checkpoints.latest(LAYOUT) is None, (file.name, position, bit)
        file.write_bytes(content)
    assert_same(checkpoints.latest(LAYOUT), snapshot(20))


@pytest.mark.parametrize("damage", ["missing", "more", "manifest", "format"])
def test_a_checkpoint_with_other_files_is_refused(checkpoints: Checkpoints, damage: str) -> None:
    checkpoints.save(snapshot(20))
    [directory] = checkpoints.path.iterdir()
    if damage == "missing":
        (directory / "average.npz").unlink()
    elif damage == "more":
        (directory / "more.npz").write_bytes(b"")
    elif damage == "manifest":
        (directory / "manifest.sha256").unlink()
    else:
        lines = (directory / "manifest.sha256").read_text().splitlines(keepends=True)
        (directory / "manifest.sha256").write_text("".join(lines[:-1]))
    assert checkpoints.latest(LAYOUT) is None


CALLS = [(os, "fsync"), (os, "replace"), (os, "mkdir"), (np.lib.format, "write_array"), (Path, "write_text")]
"""Whatever writes, flushes, renames or makes a directory."""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize(("owner", "call"), CALLS, ids=[call for _, call in CALLS])
def test_whichever_call_fails_something_whole_is_left(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, owner: object, call: str, code: int
) -> None:
    checkpoints.save(snapshot(1))
    refused = 0
    for count in range(1, 100):
        failing, left = failing_at(count, getattr(owner, call), code)
        with monkeypatch.context() as patched, suppress(RunError):
            patched.setattr(owner, call, failing)
            refused += 1
            checkpoints.save(snapshot(2))
            refused -= 1
        latest = checkpoints.latest(LAYOUT)
        assert latest is not None
        assert_same(latest, snapshot(latest.step))
        assert all(path.name.startswith("step-") for path in checkpoints.path.iterdir())
        if left[0] > 0:
            break
    assert 1 <= refused < count < 99
    assert_same(latest, snapshot(2))


def failing_at(count: int, call: Callable[..., object], code: int) -> tuple[Callable[..., object], list[int]]:
    """``call``, except for the ``count``-th time, when it fails; and how often it can still be called before that."""
    left = [count]

    def wrapped(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(code, os.strerror(code))
        return call(*arguments, **options)

    return wrapped, left


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A real limit of the system: writing stops in the middle of a file."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 1, 100, 500, 1000, 2000])
def test_a_file_that_is_written_in_part_leaves_the_checkpoint_before(checkpoints: Checkpoints, size: int) -> None:
    checkpoints.save(snapshot(1))
    with (
        files_no_larger_than(size),
        pytest.raises(RunError, match=r"step-000000002 cannot be written: File too large\.$"),
    ):
        checkpoints.save(snapshot(2))
    assert_same(checkpoints.latest(LAYOUT), snapshot(1))
    assert [path.name for path in checkpoints.path.iterdir()] == ["step-000000001"]


def test_what_a_killed_process_left_is_swept(checkpoints: Checkpoints) -> None:
    checkpoints.sweep()
    checkpoints.save(snapshot(1))
    (checkpoints.path / ".writing-123-step-000000002").mkdir()
    checkpoints.sweep()
    assert [path.name for path in checkpoints.path.iterdir()] == ["step-000000001"]


Damage = Callable[[dict[str, Any]], object]


def rewritten(checkpoints: Checkpoints, step: int, change: Damage) -> None:
    """Change what ``state.json`` says, as somebody would who also writes the digests again."""
    directory = checkpoints.path / f"step-{step:09d}"
    state = json.loads((directory / "state.json").read_text())
    change(state)
    (directory / "state.json").write_text(json.dumps(state))
    sign(directory)


def sign(directory: Path) -> None:
    """Write a manifest that fits the files."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted(directory.iterdir())
        if file.name != "manifest.sha256"
    ]
    (directory / "manifest.sha256").write_text("".join(lines))


WRONG: dict[str, Damage] = {
    "step 2^70": lambda state: state.update(step=2**70),
    "step null": lambda state: state.update(step=None),
    "step text": lambda state: state.update(step="x"),
    "step negative": lambda state: state.update(step=-1),
    "step another": lambda state: state.update(step=21),
    "step true": lambda state: state.update(step=True),
    "step 25.0": lambda state: state.update(step=25.5),
    "seconds null": lambda state: state.update(seconds=None),
    "seconds negative": lambda state: state.update(seconds=-1.0),
    "seconds infinite": lambda state: state.update(seconds=float("inf")),
    "averaged text": lambda state: state.update(averaged="x"),
    "averaged later": lambda state: state.update(averaged=[0, 26]),
    "averaged negative": lambda state: state.update(averaged=[-1, 4]),
    "averaged 2^70": lambda state: state.update(averaged=[2**70, 4]),
    "format null": lambda state: state.update(format=None),
    "format zero": lambda state: state.update(format=0),
    "format of no variables": lambda state: state.update(format=1),
    "history null": lambda state: state.update(history=None),
    "history text": lambda state: state.update(history="x"),
    "history of numbers": lambda state: state.update(history=[1, 2]),
    "history too short": lambda state: state.update(history=state["history"][:1]),
    "history too long": lambda state: state.update(history=state["history"] * 2),
    "history swapped": lambda state: state.update(history=state["history"][::-1]),
    "row null": lambda state: state["history"].append(None),
    "row with text": lambda state: state["history"][1].update(loss="x"),
    "row with null": lambda state: state["history"][1].update(loss=None),
    "row negative": lambda state: state["history"][1].update(val_accuracy=-1),
    "row of epoch 2^70": lambda state: state["history"][1].update(epoch=2**70),
    "row without a loss": lambda state: state["history"][1].pop("loss"),
    "variables null": lambda state: state.update(variables=None),
    "variables of a group": lambda state: state["variables"].pop("average"),
    "variables of more": lambda state: state["variables"].update(more=[]),
    "variables text": lambda state: state["variables"].update(model="x"),
    "variable null": lambda state: state["variables"]["metrics"].append(None),
    "type": lambda state: state["variables"]["metrics"][0].__setitem__(2, "float77"),
    "type of objects": lambda state: state["variables"]["metrics"][0].__setitem__(2, "object"),
    "shape": lambda state: state["variables"]["metrics"][0].__setitem__(1, [2**70]),
    "shape text": lambda state: state["variables"]["metrics"][0].__setitem__(1, "x"),
    "more": lambda state: state.update(more=1),
    "less": lambda state: state.pop("seconds"),
    "empty": lambda state: state.clear(),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_state_that_cannot_be_is_damage_and_the_older_checkpoint_is_used(
    checkpoints: Checkpoints, wrong: str, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoints.save(snapshot(9))
    checkpoints.save(snapshot(25))
    rewritten(checkpoints, 25, WRONG[wrong])
    assert_same(checkpoints.latest(LAYOUT), snapshot(9))
    [line] = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"The checkpoint .*step-000000025 is damaged: .+\. It is not used\.", line)


@pytest.mark.parametrize("text", ["", "x", "[]", "null", "1", "[" * 100_000, '{"step": ' + "9" * 5000 + "}", "\ud800"])
def test_a_state_that_is_not_json_of_a_state_is_damage(checkpoints: Checkpoints, text: str) -> None:
    checkpoints.save(snapshot(9))
    checkpoints.save(snapshot(25))
    directory = checkpoints.path / "step-000000025"
    (directory / "state.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    sign(directory)
    assert_same(checkpoints.latest(LAYOUT), snapshot(9))


def zipped(file: Path, kind: int, *members: tuple[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)


def header(shape: tuple[int, ...], descr: str) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"shape": shape, "fortran_order": False, "descr": descr})
    return content.getvalue()


KERNEL, SEED = snapshot(25).arrays["model"].values()


def stored(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


HOSTILE: dict[str, Callable[[Path], object]] = {
    "compressed": lambda file: zipped(
        file, zipfile.ZIP_DEFLATED, ("000000.npy", stored(KERNEL)), ("000001.npy", stored(SEED))
    ),
    "8 MB that claim 8.6 GB": lambda file: zipped(
        file, zipfile.ZIP_DEFLATED, ("000000.npy", header((2**31,), "<f4") + bytes(2**23)), ("000001.npy", stored(SEED))
    ),
    "a header that claims 8.6 GB": lambda file: zipped(
        file, zipfile.ZIP_STORED, ("000000.npy", header((2**31,), "<f4")), ("000001.npy", stored(SEED))
    ),
    "a negative size": lambda file: zipped(
        file, zipfile.ZIP_STORED, ("000000.npy", header((-1, 216), "<f4")), ("000001.npy", stored(SEED))
    ),
    "objects": lambda file: zipped(
        file, zipfile.ZIP_STORED, ("000000.npy", header((3, 3, 3, 8), "|O")), ("000001.npy", stored(SEED))
    ),
    "another type": lambda file: zipped(
        file, zipfile.ZIP_STORED, ("000000.npy", stored(KERNEL.view("int32"))), ("000001.npy", stored(SEED))
    ),
    "another shape": lambda file: zipped(
        file, zipfile.ZIP_STORED, ("000000.npy", stored(KERNEL.ravel())), ("000001.npy", stored(SEED))
    ),
    "another name": lambda file: zipped(
        file, zipfile.ZIP_STORED, ("../../00.npy", stored(KERNEL)), ("000001.npy", stored(SEED))
    ),
    "one array": lambda file: zipped(file, zipfile.ZIP_STORED, ("000000.npy", stored(KERNEL))),
    "no arrays": lambda file: zipped(file, zipfile.ZIP_STORED),
    "not an archive": lambda file: file.write_bytes(b"x" * 100),
    "a sparse gigabyte": lambda file: os.truncate(file, 2**30),
    "a pipe": lambda file: replaced_by_a_pipe(file),
}


def replaced_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", ["model.npz", "metrics.npz"])
def test_arrays_that_somebody_else_has_written_are_not_read(
    checkpoints: Checkpoints, hostile: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoints.save(snapshot(9))
    checkpoints.save(snapshot(25))
    directory = checkpoints.path / "step-000000025"
    HOSTILE[hostile](directory / name)
    before = psutil.Process().memory_info().rss
    if hostile == "a pipe":
        with pytest.raises(RunError, match="neither a regular file nor a folder"):
            checkpoints.latest(LAYOUT)
        return
    sign(directory)
    assert_same(checkpoints.latest(LAYOUT), snapshot(9))
    assert psutil.Process().memory_info().rss - before < 2**26
    assert "is damaged: " in capfd.readouterr().err


@pytest.mark.parametrize("name", ["manifest.sha256", "state.json", "best.weights.h5", "model.npz"])
def test_a_sparse_terabyte_is_not_read(checkpoints: Checkpoints, name: str) -> None:
    checkpoints.save(snapshot(9))
    checkpoints.save(snapshot(25))
    file = checkpoints.path / "step-000000025" / name
    if name == "best.weights.h5":  # which is another name of the run's own file
        file.unlink()
        file.touch()
    os.truncate(file, 2**40)
    assert_same(checkpoints.latest(LAYOUT), snapshot(9))


def changed(**groups: Sequence[ArraySpec]) -> Layout:
    return Layout(LAYOUT.steps_per_epoch, dict(LAYOUT.variables) | groups)


def test_variables_are_found_by_their_paths(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(7))
    found = checkpoints.latest(changed(model=LAYOUT.variables["model"][::-1]))
    assert found is not None
    assert list(found.arrays["model"]) == ["dropout/seed", "conv/kernel"]
    np.testing.assert_array_equal(found.arrays["model"]["conv/kernel"], snapshot(7).arrays["model"]["conv/kernel"])


def test_layers_that_keras_numbers_otherwise_are_found_by_their_order(checkpoints: Checkpoints) -> None:
    arrays = dict(snapshot(7).arrays)
    arrays["model"] = {
        f"conv2d{number}/kernel": np.full(3, float(value)) for value, number in enumerate(("", "_1", "_2"))
    }
    checkpoints.save(Snapshot(7, 0.0, (), (0, 0), arrays))
    own = [ArraySpec(f"conv2d_{number}/kernel", (3,), "float64") for number in (2, 3, 4)]
    found = checkpoints.latest(Layout(10, {"model": own}))
    assert found is not None
    assert [value[0] for value in found.arrays["model"].values()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ([ArraySpec("conv/kernel", (3, 3, 3, 8), "float32")], "its model has 2 variables where 1 are needed"),
        (
            [ArraySpec("conv/kernel", (3, 3, 3, 8), "float32"), ArraySpec("dense/kernel", (2,), "uint32")],
            "its model has 2 variables where 2 are needed, and none for dense/kernel",
        ),
        (
            [ArraySpec("conv/kernel", (3, 3, 3, 9), "float32"), ArraySpec("dropout/seed", (2,), "uint32")],
            r"its model has conv/kernel \(3, 3, 3, 8\) float32 where conv/kernel \(3, 3, 3, 9\) float32 is needed",
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_and_stays(
    checkpoints: Checkpoints, model: list[ArraySpec], reason: str
) -> None:
    checkpoints.save(snapshot(7))
    with pytest.raises(RunError, match=f"^The checkpoint belongs to another training: {reason}"):
        checkpoints.latest(changed(model=model))
    assert_same(checkpoints.latest(LAYOUT), snapshot(7))


def as_format_1(directory: Path) -> None:
    """Turn a checkpoint into one as older packages wrote it."""
    state = json.loads((directory / "state.json").read_text())
    del state["variables"], state["averaged"]
    (directory / "state.json").write_text(json.dumps(state | {"format": 1, "updates": 2}))
    sign(directory)


def test_format_1_is_read_by_position(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(25))
    as_format_1(checkpoints.path / "step-000000025")
    found = checkpoints.latest(LAYOUT)
    assert found is not None
    assert found.averaged == (0, 5)
    assert list(found.arrays["model"]) == ["conv/kernel", "dropout/seed"]
    for group in ("model", "optimizer", "metrics"):
        for one, other in zip(found.arrays[group].values(), snapshot(25).arrays[group].values(), strict=True):
            np.testing.assert_array_equal(one, other)
    for model in (LAYOUT.variables["model"][:1], LAYOUT.variables["model"][::-1]):
        with pytest.raises(RunError, match="belongs to another training: "):
            checkpoints.latest(changed(model=model))
    with pytest.raises(RunError, match=r"belongs to another training: model\.npz has 1,\d+ bytes where at most"):
        checkpoints.latest(changed(model=[]))


def test_a_newer_format_is_refused_and_stays(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(25))
    rewritten(checkpoints, 25, lambda state: state.update(format=3, new="x"))
    with pytest.raises(RunError, match=r"has format 3; this version reads up to 2\. Upgrade cnn-registry\.$"):
        checkpoints.latest(LAYOUT)
    assert len(list(checkpoints.path.iterdir())) == 1


def test_types_that_numpy_does_not_know_are_kept(checkpoints: Checkpoints) -> None:
    import ml_dtypes

    value = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    arrays: dict[str, dict[str, np.ndarray]] = {"model": {"a": value}, "optimizer": {}, "metrics": {}, "average": {}}
    checkpoints.save(Snapshot(7, 0.0, (), (0, 0), arrays))
    found = checkpoints.latest(Layout(10, {"model": [ArraySpec("a", (2, 3), "bfloat16")]}))
    assert found is not None
    assert found.arrays["model"]["a"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found.arrays["model"]["a"], value)
