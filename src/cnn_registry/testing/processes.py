"""Questions to another process about what it computes from a saved model."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from cnn_registry.registry.current import current_policy
from cnn_registry.text import one_line

if TYPE_CHECKING:
    import keras

LARGEST = 3 * 2**30
"""Bytes at which a process is replaced: it does not give back the memory of large networks."""

IMAGES, KERAS_FILE, WEIGHTS_FILE = "images.npy", "model.keras", "model.weights.h5"


@dataclass(frozen=True)
class Answer:
    """What the other process found.

    Attributes:
        faults: what went wrong, by what was tried: ``"process"``, ``"backend"``, ``"import"``, ``"save"``,
            ``"weights"`` and ``"keras"``.
        outputs: by ``"weights"`` (the network built there with the saved weights) and ``"keras"`` (read from its file).
    """

    faults: dict[str, str]
    outputs: dict[str, np.ndarray]


class Process:
    """A Python process with Keras on one backend that waits for questions.

    Args:
        backend_name: the value of ``KERAS_BACKEND`` there.
    """

    def __init__(self, backend_name: str) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (see `close`)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "cnn_registry.testing.elsewhere"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"KERAS_BACKEND": backend_name},
        )

    def ask(self, question: dict[str, Any]) -> dict[str, str]:
        """The faults in its answer; ``"process"`` if it ended instead."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return dict(json.loads(line))
        code = self._process.wait()
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
        return {"process": f"it ended with exit code {code}: {last}"}

    @property
    def memory(self) -> int:
        """The memory that it uses, in bytes."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        self._errors.close()


_running: dict[str, Process] = {}


def ask(backend_name: str, model: keras.Model, images: np.ndarray, *, keras_file: bool, **question: Any) -> Answer:
    """Save ``model`` and let another process read it.

    Args:
        backend_name: the backend of Keras there.
        model: the model to save.
        images: the images for which both compute outputs.
        keras_file: whether the whole model is saved and read, in addition to its weights.
        **question: the ``module`` that declares the model, its ``name``, ``input_shape`` and ``num_classes``.
    """
    with tempfile.TemporaryDirectory(prefix="cnnreg-check-") as name:
        folder = Path(name)
        np.save(folder / IMAGES, images)
        faults = _saved(model, folder, keras_file=keras_file)
        process = _running.pop(backend_name, None) or Process(backend_name)
        current = current_policy()
        allowed = [None if current.allow is None else sorted(current.allow), sorted(current.deny)]
        try:
            found = process.ask({"paths": sys.path, "policy": allowed, "folder": name, **question})
        except BaseException:  # its answer would be taken for that to the next question
            process.kill()
            raise
        if "process" in found or process.memory > LARGEST:
            process.close()
        else:
            _running[backend_name] = process
        # What could not be saved cannot be read either; the first fault says more.
        outputs = {path.stem: np.load(path) for path in folder.glob("*.npy") if path.name != IMAGES}
        return Answer(found | faults, outputs)


def _saved(model: keras.Model, folder: Path, *, keras_file: bool) -> dict[str, str]:
    faults = {}
    files = {"weights": (model.save_weights, WEIGHTS_FILE)}
    if keras_file:
        files["keras"] = (model.save, KERAS_FILE)
    for what, (save, file) in files.items():
        try:
            save(folder / file)
        except Exception as error:  # a layer's own code saves it
            faults[what] = f"it cannot be saved: {one_line(error)}"
    return faults


@atexit.register
def _close_all() -> None:
    for process in _running.values():
        process.close()
