"""Read a PyTorch state dict, in a process of its own.

PyTorch and TensorFlow do not get along in one process everywhere: builds of PyTorch with Triton end it with a
segmentation fault when they are imported after TensorFlow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cnn_registry.errors import MissingPackageError, WeightsError
from cnn_registry.system.garbage import exempt_imports, importing
from cnn_registry.text import one_line

ARRAYS = "arrays.npz"


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a ``.pth`` or ``.pt`` file by their keys, as float32. Code in the file is not run.

    Raises:
        WeightsError: the file cannot be read as a state dict.
        MissingPackageError: PyTorch cannot be imported.
    """
    with TemporaryDirectory(prefix="cnnreg-torch-") as folder:
        command = [sys.executable, "-W", "ignore", "-m", __name__, str(path), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise _unreadable(path, f"the process that reads it ended with exit code {done.returncode}: {last}")
        answer = json.loads(done.stdout.splitlines()[-1])
        if "missing" in answer:
            raise missing_reader(path.name, "torch", answer["missing"])
        if "fault" in answer:
            raise _unreadable(path, answer["fault"])
        with np.load(Path(folder) / ARRAYS) as arrays:
            return dict(zip(answer["keys"], arrays.values(), strict=True))


def need_reader(name: str) -> None:
    """Refuse a PyTorch file, by its name, if the library that reads it is not installed. Nothing is imported.

    Raises:
        MissingPackageError: it is not.
    """
    package = "safetensors" if name.endswith(".safetensors") else "torch"
    if sys.modules.get(package) is None and find_spec(package) is None:
        raise missing_reader(name, package)


def missing_reader(file: str, package: str, reason: str = "") -> MissingPackageError:
    """The error for a file that needs a package which is not installed, or cannot be imported for a ``reason``."""
    return MissingPackageError(f"Reading {file}", [package], install=package, reason=reason)


def _unreadable(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"{path} cannot be read as a PyTorch state dict: {reason}. Is it complete, and of that kind?")


def _answer(path: str, folder: str) -> dict[str, str | list[str]]:
    """Write the arrays into ``folder``; return their keys, or why there are none."""
    try:
        with importing():
            import torch
    except Exception as error:  # an installation may be broken in any way
        return {"missing": one_line(error)}
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        arrays = [tensor.detach().float().numpy() for tensor in state.values()]
    except Exception as error:  # zip, pickle and PyTorch raise many kinds for a file that is not a state dict
        return {"fault": one_line(error)}
    np.savez(Path(folder) / ARRAYS, *arrays)
    return {"keys": [str(key) for key in state]}


if __name__ == "__main__":
    exempt_imports()
    print(json.dumps(_answer(*sys.argv[1:])))
