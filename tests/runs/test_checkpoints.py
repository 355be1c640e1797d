"""Checkpoints: what is read is what was written, or is refused; what cannot be written leaves what was there."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.errors import RunError
from cnn_registry.runs.checkpoints import Checkpoints
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.snapshot import Snapshot


def snapshot(step: int) -> Snapshot:
    random = np.random.default_rng(step)
    arrays: dict[str, list[np.ndarray]] = {
        "model": [random.normal(size=(3, 3, 3, 8)).astype("float32"), np.array([step, 1], "uint32")],
        "optimizer": [np.array(step), random.normal(size=500).astype("float32")],
        "metrics": [np.array(step / 3, "float32"), np.array(8, "float32")],
        "average": [],
    }
    history = tuple(Epoch(n + 1, 1 / 3, 0.5, float("nan"), 0.1, 1e-3, 2.5, 100.0) for n in range(step // 10))
    return Snapshot(step, 0.1 + step, history, step, arrays)


def assert_same(one: Snapshot | None, other: Snapshot) -> None:
    assert one is not None
    assert (one.step, one.seconds, one.averaged, repr(one.history)) == (
        other.step,
        other.seconds,
        other.averaged,
        repr(other.history),
    )
    for group, arrays in other.arrays.items():
        assert [(a.dtype, a.shape, a.tobytes()) for a in one.arrays[group]] == [
            (np.asarray(a).dtype, np.shape(a), np.asarray(a).tobytes()) for a in arrays
        ]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    (tmp_path / "best.weights.h5").write_bytes(b"best of its time")
    return Checkpoints(tmp_path / "checkpoints", tmp_path / "best.weights.h5")


def test_what_is_read_is_what_was_written(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None
    checkpoints.save(snapshot(7))
    assert_same(checkpoints.latest(), snapshot(7))
    checkpoints.save(snapshot(31))
    assert_same(checkpoints.latest(), snapshot(31))


def test_the_latest_two_are_kept_and_later_ones_go_with_what_is_damaged(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        checkpoints.save(snapshot(step))
    assert sorted(path.name for path in checkpoints.path.iterdir()) == ["step-000000002", "step-000000003"]
    (checkpoints.path / "step-000000003" / "state.json").unlink()
    assert_same(checkpoints.latest(), snapshot(2))
    assert [path.name for path in checkpoints.path.iterdir()] == ["step-000000002"]


def test_a_checkpoint_brings_back_the_best_weights_of_its_time(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(1))
    later = checkpoints.best.with_name("later")
    later.write_bytes(b"of a later epoch")
    later.replace(checkpoints.best)
    checkpoints.latest()
    assert checkpoints.best.read_bytes() == b"best of its time"
    assert sorted(path.name for path in checkpoints.best.parent.iterdir()) == ["best.weights.h5", "checkpoints"]


def test_a_step_can_be_written_again(checkpoints: Checkpoints) -> None:
    checkpoints.save(snapshot(5))
    changed = dict(snapshot(5).arrays) | {"metrics": [np.array(9, "float32")]}
    again = Snapshot(5, 0.0, (), 0, changed)
    checkpoints.save(again)
    assert_same(checkpoints.latest(), again)


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
        assert checkpoints.latest() is None, (file.name, position, bit)
        file.write_bytes(content)
    assert_same(checkpoints.latest(), snapshot(20))


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
    assert checkpoints.latest() is None


CALLS = [(os, "fsync"), (os, "replace"), (os, "mkdir"), (np, "savez"), (Path, "write_text")]
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
        latest = checkpoints.latest()
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
    assert_same(checkpoints.latest(), snapshot(1))
    assert [path.name for path in checkpoints.path.iterdir()] == ["step-000000001"]


def test_what_a_killed_process_left_is_swept(checkpoints: Checkpoints) -> None:
    checkpoints.sweep()
    checkpoints.save(snapshot(1))
    (checkpoints.path / ".writing-123-step-000000002").mkdir()
    checkpoints.sweep()
    assert [path.name for path in checkpoints.path.iterdir()] == ["step-000000001"]
