"""Checkpoints on disk: each a directory that is whole or absent, and verified before it is used.

A checkpoint holds ``state.json``, ``model.npz``, ``optimizer.npz``, ``metrics.npz``, ``average.npz``, the best weights
so far, and ``manifest.sha256``, which ``sha256sum -c`` reads. The arrays are numbered; ``state.json`` names the
variables that they belong to.

Somebody else may have written a checkpoint. Nothing is read before its size is known to be no larger than what it has
to hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cnn_registry.errors import RunError
from cnn_registry.system.files import check_own, is_own_folder, is_temporary, whole_directory, whole_file
from cnn_registry.system.progress import note
from cnn_registry.text import one_line, quoted, shorten, unstopped

from .history import Epoch
from .snapshot import ArraySpec, Layout, Snapshot, matched

FORMAT = 2
"""Grows when an older package could no longer read a checkpoint. Format 1 had variables by position."""

KEPT = 2
"""The number of checkpoints that are kept: the latest, and the one before it in case the latest is damaged."""

MANIFEST, STATE, BEST = "manifest.sha256", "state.json", "best.weights.h5"
GROUPS = ("model", "optimizer", "metrics", "average")
ARRAYS = tuple(f"{group}.npz" for group in GROUPS)

MANIFEST_BYTES = 2**12
STATE_BYTES = 2**24
METRICS_BYTES = 2**20
"""The largest manifest, state and metrics that are read. Such a state holds some sixty thousand epochs."""

OVERHEAD = 2**10
"""The largest number of bytes for the headers of one array."""

_NAME = re.compile(r"step-(\d{9})")
_LINE = re.compile(r"([0-9a-f]{64})  ([a-z0-9_.]+)")


class State(BaseModel):
    """What ``state.json`` holds; see `Snapshot`.

    Attributes:
        variables: path, shape and type of each array of a group, in their order; none in format 1.
        updates: in format 1, how often the average had been updated: after the steps 1, 5, 9, and so on.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int = Field(ge=1)
    step: int = Field(ge=0, lt=10**9)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    history: tuple[Epoch, ...]
    averaged: tuple[int, int] = (0, 0)
    updates: int = Field(default=0, ge=0, lt=10**9)
    variables: dict[str, tuple[ArraySpec, ...]] | None = None
    callbacks: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for number, row in enumerate(self.history, start=1):
            if row.epoch != number:
                raise ValueError(f"row {number} of the history is that of epoch {row.epoch}")
            if min(row.accuracy, row.val_accuracy, row.learning_rate, row.seconds, row.images_per_second) < 0:
                raise ValueError(f"row {number} of the history has a negative number")
        if min(self.averaged) < 0 or max(self.averaged) > max(self.step, 1):
            raise ValueError(f"the average has read the steps {self.averaged} of {self.step}")
        if (None if self.format == 1 else set(GROUPS)) != (self.variables and set(self.variables)):
            raise ValueError(f"it has format {self.format} and names the variables of {list(self.variables or ())}")
        return self


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run.

    Attributes:
        path: their directory.
        best: the run's best weights, of which each checkpoint keeps those of its time.
    """

    path: Path
    best: Path

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, and remove all but the latest.

        Raises:
            RunError: it cannot be written, or a link or somebody's files are in its way; those before it stay.
        """
        check_own(self.path)
        check_own(self.best)
        directory = self._directory(snapshot.step)
        if os.path.lexists(directory) and not _is_ours(directory):
            raise RunError(f"{directory} cannot be written: it holds other files than a checkpoint. Move it elsewhere.")
        with whole_directory(directory) as temporary:
            variables = {group: _write(temporary / f"{group}.npz", snapshot.arrays[group]) for group in GROUPS}
            if self.best.exists():
                _link(self.best, temporary / BEST)
            state = {
                "format": FORMAT,
                "step": snapshot.step,
                "seconds": snapshot.seconds,
                "averaged": snapshot.averaged,
                "history": [epoch.to_dict() for epoch in snapshot.history],
                "variables": variables,
            }
            if snapshot.callbacks:  # which versions before them cannot read
                state["callbacks"] = snapshot.callbacks
            (temporary / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
            lines = [f"{_digest(file)}  {file.name}\n" for file in sorted(temporary.iterdir())]
            (temporary / MANIFEST).write_text("".join(lines), encoding="ascii")
        before = [self._directory(step) for step in self._steps() if step < snapshot.step]
        for old in list(filter(_is_ours, before))[KEPT - 1 :]:
            _remove(old)

    @property
    def exist(self) -> bool:
        """Whether there are any, whole or not."""
        return bool(self._steps())

    def latest(self, layout: Layout) -> Snapshot | None:
        """The latest checkpoint that is whole, its best weights put back in place; ``None`` where there is none.

        Those of later steps are removed: training will come there again.

        Args:
            layout: what it must fit.

        Raises:
            RunError: there is a link among them, or the latest belongs to another training.
        """
        check_own(self.path)
        for step in self._steps():
            directory = self._directory(step)
            try:
                snapshot = _read(directory, layout)
            except (OSError, ValueError, TypeError, OverflowError, RecursionError, BadZipFile) as error:
                fault = _first_line(error) if isinstance(error, ValidationError) else one_line(error)
                note(f"The checkpoint {directory} is damaged: {unstopped(fault)}. It is not used.")
                continue
            for later in self._steps():
                if later > step:
                    _remove(self._directory(later))
            if (directory / BEST).exists():
                with whole_file(self.best) as temporary:
                    _link(directory / BEST, temporary)
            return snapshot
        return None

    def sweep(self) -> None:
        """Remove what a killed process has left half written."""
        for left in filter(is_temporary, self._entries()):
            _remove(left)

    def remove(self) -> None:
        """Remove all of them at the end of a training; what somebody else has put there stays."""
        self.sweep()
        for step in self._steps():
            _remove(self._directory(step))
        if is_own_folder(self.path):
            with suppress(OSError):
                self.path.rmdir()

    def _steps(self) -> list[int]:
        """The steps of all checkpoints, the latest first."""
        found = (_NAME.fullmatch(item.name) for item in self._entries())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def _entries(self) -> list[Path]:
        return list(self.path.iterdir()) if is_own_folder(self.path) else []

    def _directory(self, step: int) -> Path:
        return self.path / f"step-{step:09d}"


def _is_ours(directory: Path) -> bool:
    """Whether a directory holds files of a checkpoint and nothing else; some may be missing."""
    try:
        return is_own_folder(directory) and all(
            item.name in (MANIFEST, STATE, BEST, *ARRAYS) and stat.S_ISREG(item.lstat().st_mode)
            for item in directory.iterdir()
        )
    except OSError:
        return False


def _remove(directory: Path) -> None:
    """Remove a checkpoint, file by file; a directory that holds anything else stays as it is."""
    if _is_ours(directory):
        with suppress(OSError):
            for file in directory.iterdir():
                file.unlink()
            directory.rmdir()


def _read(directory: Path, layout: Layout) -> Snapshot:
    """Verify and read a checkpoint.

    Raises:
        OSError, ValueError, TypeError, OverflowError, RecursionError, BadZipFile: it is damaged.
        RunError: it belongs to another training, or has a newer format.
    """
    digests = _manifest(directory)
    _verify(directory, STATE, digests, STATE_BYTES)
    state = _state(directory, layout)
    saved = state.variables or {}
    orders = {group: matched(own, saved[group], group) for group, own in layout.variables.items() if group in saved}
    limits = {f"{group}.npz": _limit(saved.get(group, layout.variables.get(group, ()))) for group in GROUPS}
    limits["metrics.npz"] = METRICS_BYTES
    if not saved:
        _check_sizes(directory, limits)
    limits[BEST] = 2 * limits["model.npz"] + 2**24  # HDF5's own overhead, and nothing else than the model's weights
    for name in sorted(digests.keys() - {STATE}):
        _verify(directory, name, digests, limits[name])
    arrays = {}
    for group in GROUPS:
        specs = _headers(directory / f"{group}.npz", limits[f"{group}.npz"])
        if group in saved and [spec.stored for spec in specs] != [spec.stored for spec in saved[group]]:
            raise ValueError(f"{group}.npz has other arrays than {STATE} says")
        named = saved.get(group, specs)
        own = layout.variables.get(group, named)
        order = orders.get(group) or matched(own, named, group)
        values = _arrays(directory / f"{group}.npz", named)
        arrays[group] = {spec.path: values[position] for spec, position in zip(own, order, strict=True)}
    averaged = state.averaged if state.variables else (0, max(4 * state.updates - 3, 0))
    return Snapshot(state.step, state.seconds, state.history, averaged, arrays, state.callbacks)


def _manifest(directory: Path) -> dict[str, str]:
    """The digests of all files, by their names.

    Raises:
        OSError, ValueError: it cannot be read, or does not belong to these files.
    """
    _check_size(directory / MANIFEST, MANIFEST_BYTES)
    lines = (directory / MANIFEST).read_text(encoding="ascii").split("\n")
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    if lines[-1] or None in found:
        raise ValueError("its manifest is not a list of digests")
    digests = {match[2]: match[1] for match in found if match}
    there = {file.name for file in directory.iterdir()} - {MANIFEST}
    if digests.keys() != there or len(digests) != len(found) or not {STATE, *ARRAYS} <= there <= {STATE, BEST, *ARRAYS}:
        raise ValueError(f"it has the files {sorted(there)}, its manifest those of {sorted(digests)}")
    return digests


def _verify(directory: Path, name: str, digests: Mapping[str, str], limit: int) -> None:
    """Compare a file with the manifest.

    Raises:
        OSError, ValueError: it cannot be read, is too large, or is not as it was written.
    """
    _check_size(directory / name, limit)
    if _digest(directory / name) != digests[name]:
        raise ValueError(f"{name} is not as it was written")


def _check_size(file: Path, limit: int) -> None:
    facts = file.lstat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError(f"{file.name} is not a regular file")
    if facts.st_size > limit:
        raise ValueError(f"{file.name} has {facts.st_size:,} bytes, more than the {limit:,} that it can need")


def _state(directory: Path, layout: Layout) -> State:
    """What ``state.json`` says.

    Raises:
        OSError, ValueError: it cannot be read, or its values cannot be.
        RunError: it has a newer format.
    """
    content = (directory / STATE).read_bytes()
    found = json.loads(content)
    if isinstance(found, dict) and type(found.get("format")) is int and found["format"] > FORMAT:
        raise RunError(
            f"The checkpoint {directory} has format {found['format']}; this version reads up to {FORMAT}. "
            f"Upgrade cnn-registry."
        )
    state = State.model_validate_json(content)
    if directory.name != f"step-{state.step:09d}":
        raise ValueError(f"its step is {state.step}")
    done = state.step - len(state.history) * layout.steps_per_epoch
    if not 0 <= done < layout.steps_per_epoch:
        raise ValueError(f"{state.step} steps are not {len(state.history)} epochs of {layout.steps_per_epoch} steps")
    return state


def _first_line(error: ValidationError) -> str:
    """What is wrong in ``state.json`` in one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return shorten(f"{STATE}: {where}{': ' if where else ''}{first['msg']}", 400)


def _limit(specs: Sequence[ArraySpec]) -> int:
    """The largest size of a file with such arrays."""
    return sum(spec.nbytes for spec in specs) + OVERHEAD * (len(specs) + 1)


def _check_sizes(directory: Path, limits: Mapping[str, int]) -> None:
    """Tell larger networks from damage in format 1, which does not say how large its arrays are.

    Raises:
        RunError: the arrays are those of a larger network.
    """
    for name in set(ARRAYS) & {file.name for file in directory.iterdir()}:
        if (size := (directory / name).lstat().st_size) > limits[name]:
            raise RunError(
                f"The checkpoint {directory} belongs to another training: {name} has {size:,} bytes where at most "
                f"{limits[name]:,} are needed."
            )


def _headers(file: Path, limit: int) -> list[ArraySpec]:
    """The form of each array in a file, by its position. No array is read; together they have at most ``limit`` bytes.

    Raises:
        OSError, ValueError, BadZipFile: it is not a file as `Checkpoints.save` writes it.
    """
    specs, left = [], limit
    with ZipFile(file) as archive:
        for position, member in enumerate(archive.infolist()):
            if member.filename != f"{position:06d}.npy" or member.compress_type != ZIP_STORED:
                raise ValueError(f"{file.name} has the member {quoted(member.filename)}, or is compressed")
            with archive.open(member) as content:
                shape, in_columns, kind = _header(content)
                spec = ArraySpec(str(position), shape, kind.str)
                if kind.hasobject or in_columns or content.tell() + spec.nbytes != member.file_size:
                    raise ValueError(f"{file.name}: array {position} does not have the size that its header states")
            specs.append(spec)
            left -= spec.nbytes
            if left < 0:
                raise ValueError(f"{file.name} has arrays of more than {limit:,} bytes")
    return specs


def _header(content: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(content)
    if version != (1, 0):
        raise ValueError(f"it has an array of the NumPy format {version}")
    found: tuple[tuple[int, ...], bool, np.dtype] = np.lib.format.read_array_header_1_0(content)
    return found


def _arrays(file: Path, specs: Sequence[ArraySpec]) -> list[np.ndarray]:
    """The arrays of a file whose headers were compared."""
    with np.load(file, allow_pickle=False) as archive:
        return [archive[name].view(spec.numpy_type) for name, spec in zip(sorted(archive.files), specs, strict=True)]


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> list[ArraySpec]:
    """Write arrays as `numpy.savez` does, but one after another, and return the form of each."""
    specs = []
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for index, (path, value) in enumerate(arrays.items()):
            with archive.open(f"{index:06d}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, allow_pickle=False)
            specs.append(ArraySpec(path, value.shape, value.dtype.name))
    return specs


def _link(existing: Path, new: Path) -> None:
    """Another name for a file, which is never changed in place; a copy where the file system has no such thing."""
    try:
        os.link(existing, new)
    except OSError:
        shutil.copyfile(existing, new)
