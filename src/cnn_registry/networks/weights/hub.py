"""Runs and weights in repositories of a hub: what is fetched of them, and what may be in it.

A repository is somebody else's. Only the files that a run needs are fetched, each up to a size; they are read as those
of any run that was handed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cnn_registry.errors import HubError, WeightsError
from cnn_registry.system.download import MAX_BYTES
from cnn_registry.system.hub import Address, Contents, fetched

from .safetensors_file import FILE, to_keras_file

RECORD = "run.json"
KERAS_WEIGHTS = "best.weights.h5"

RUN_FILES = {RECORD: 2**28, "labels.txt": 2**26, "history.csv": 2**26, "report.json": 2**28, FILE: MAX_BYTES}
"""The files that make a run, with the largest size in bytes of each. The first and the last have to be there."""


def fetched_run(address: Address) -> Path:
    """The run directory of a repository, in the cache.

    Raises:
        HubError: it cannot be fetched, or does not hold a run.
        WeightsError: its weights are damaged.
        MissingPackageError: `huggingface_hub` or `safetensors` is not installed.
    """
    folder = fetched(address, partial(_chosen, address=address), _finished)
    if not (folder / RECORD).is_file():
        raise _not_a_run(address)
    return folder


def fetched_weights(address: Address) -> Path:
    """The weights of a repository, in the cache: those of a run, or a state dict in ``model.safetensors``.

    Raises:
        HubError: it cannot be fetched, or holds neither.
        WeightsError, MissingPackageError: as `fetched_run`.
    """
    folder = fetched(address, partial(_chosen, address=address), _finished)
    return folder / (KERAS_WEIGHTS if (folder / RECORD).is_file() else FILE)


def _chosen(contents: Contents, address: Address) -> Mapping[str, int]:
    if FILE not in contents.files:
        raise _not_a_run(address)
    if RECORD not in contents.files:
        return {FILE: MAX_BYTES}
    return {name: limit for name, limit in RUN_FILES.items() if name in contents.files}


def _finished(folder: Path) -> None:
    """Make the files that were fetched of a run a run directory."""
    if not (folder / RECORD).is_file():
        return
    try:
        to_keras_file(folder / FILE, folder / KERAS_WEIGHTS)
    except WeightsError as error:
        raise WeightsError(str(error).replace(str(folder / FILE), f"{FILE} of the repository")) from error
    (folder / FILE).unlink()


def _not_a_run(address: Address) -> HubError:
    return HubError(
        f"{address} does not hold a run that cnnreg push wrote ({RECORD} and {FILE}), nor weights in {FILE}."
    )
