"""Training on images that are decoded whenever they are read: nothing is read before, and bad ones are met later."""

from __future__ import annotations

import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import cnn_registry
from cnn_registry import backend
from cnn_registry.backend.replicas import Replicas
from cnn_registry.data.folder import load_folder
from cnn_registry.data.pipeline.augment import Augmentation
from cnn_registry.data.pipeline.batches import evaluation_batches, reading, training_batches
from cnn_registry.data.sources import load
from cnn_registry.data.sources.load import load_images
from cnn_registry.errors import DataError
from cnn_registry.runs.layout import CONTENTS
from cnn_registry.workflows.plan import Request, plan_training
from tests.workflows.test_resume import SETTINGS, after_steps

train = partial(cnn_registry.train, settings=SETTINGS)


@pytest.fixture
def large(own_colours: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 60 images, which are more than fits into memory."""
    monkeypatch.setattr(load, "usable_memory", lambda: 60 * 16 * 16 * 3)
    monkeypatch.setattr(load, "in_flight", lambda: 1)
    return own_colours


@pytest.fixture
def bad(large: Path, tiny: str) -> list[str]:
    """The ids of a training and of a validation image that are cut off."""
    split = plan_training(Request(cnn_registry.get_spec(tiny), data=large, settings=SETTINGS)).parts
    found = sorted([split.train[7], split.val[3]])
    for image in found:
        (large / image).write_bytes((large / image).read_bytes()[:300])
    return found


def last_weights(run: cnn_registry.Run) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with h5py.File(run.last_weights) as file:
        file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.mark.slow
def test_bad_images_are_replaced_in_the_same_way_after_a_resumption(
    large: Path, bad: list[str], tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole = train(tiny, data=large, out=tmp_path / "whole")
    said = capsys.readouterr().err
    assert "60 images are decoded whenever they are read, because they do not fit into memory." in said
    assert said.count("2 images cannot be read, so others of the same class stand in: ") == 1
    assert sorted(whole.record.data.replaced) == bad
    assert whole.record.data.left_out == {}
    assert len(whole.record.split.trained) == 47
    assert len(whole.evaluate().labels) == 11

    stop = after_steps(9, lambda: signal.raise_signal(signal.SIGINT))
    stopped = train(tiny, data=large, out=tmp_path / "runs", report=False, callbacks=[stop])
    assert stopped.record.data.digest.startswith("names:")
    assert (stopped.path / CONTENTS).exists()
    changed = Path(shutil.copytree(tmp_path, tmp_path / "changed"))
    moved = Path(shutil.move(large, tmp_path / "moved"))
    monkeypatch.setattr(load, "usable_memory", backend.memory_limit)  # as on another machine
    capsys.readouterr()
    run = cnn_registry.resume(stopped.path, data=moved, report=False)
    assert "60 images are decoded whenever they are read, as when the run began." in capsys.readouterr().err
    assert run.record.status == "finished"
    assert not (run.path / CONTENTS).exists()
    assert run.record.data.replaced == whole.record.data.replaced
    assert run.record.data.digest == whole.record.data.digest
    for ours, theirs in zip(last_weights(run), last_weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    path, data = changed / stopped.path.relative_to(tmp_path), changed / large.relative_to(tmp_path)
    image, other = stopped.record.split.train[:2]
    shutil.copy(data / other, data / image)
    with pytest.raises(DataError, match=f"{image} cannot be read as an image: its content has changed"):
        cnn_registry.resume(path, data=data, report=False)

    in_memory = load_images(load_folder(moved), 16)
    assert sorted(image.id for image in in_memory.bad) == bad
    assert whole.record.data.digest == in_memory.digest


def test_a_bad_image_is_an_error_where_the_user_wants_it(large: Path, bad: list[str]) -> None:
    images = load_images(load_folder(large), 16, on_bad_image="error")
    with pytest.raises(DataError, match=r"png cannot be read: .*\. Fix or remove it"), reading(images):
        list(evaluation_batches(images, np.arange(60), batch_size=8, pixels="unit"))


def test_two_workers_read_what_one_reads(large: Path, bad: list[str]) -> None:
    def read(replicas: Replicas) -> list[tuple[np.ndarray, ...]]:
        images = load_images(load_folder(large), 16)
        part = np.arange(0, 60, 2)
        options: Any = {"batch_size": 8, "pixels": "unit", "replicas": replicas}
        batches = training_batches(images, part, epochs=2, seed=1, augmentation=Augmentation(), **options)
        return [*batches.as_numpy_iterator(), *evaluation_batches(images, np.arange(60), **options).as_numpy_iterator()]

    assert backend.tensorflow()
    one, *two = read(Replicas(0, 1, 1)), read(Replicas(0, 1, 2)), read(Replicas(1, 1, 2))
    for (pixels, labels), *parts in zip(one, *two, strict=True):
        np.testing.assert_array_equal(np.concatenate([own for own, _ in parts]), pixels)
        np.testing.assert_array_equal(sum(own for _, own in parts), labels)


def test_a_class_without_a_readable_image_ends_the_training(large: Path) -> None:
    for file in (large / "red").iterdir():
        file.write_bytes(b"")
    images = load_images(load_folder(large), 16)
    with pytest.raises(DataError, match="has no readable image of 'red' in this part"), reading(images):
        list(evaluation_batches(images, np.arange(60), batch_size=8, pixels="unit"))
