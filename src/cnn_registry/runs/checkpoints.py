"""Checkpoints on disk: each a directory that is whole or absent, and verified before it is used.

A checkpoint holds ``state.json``, ``model.npz``, ``optimizer.npz``, ``metrics.npz``, ``average.npz``, the best weights
so far, and ``manifest.sha256``, which ``sha256sum -c`` reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.errors import RunError
from cnn_registry.system.files import check_own, is_own_folder, is_temporary, whole_directory, whole_file
from cnn_registry.system.progress import note
from cnn_registry.text import one_line

from .history import Epoch
from .snapshot import Snapshot

FORMAT = 1
"""Grows when an older package could no longer read a checkpoint."""

KEPT = 2
"""Checkpoints that are kept: the latest, and the one before it, should the latest prove damaged."""

MANIFEST, STATE, BEST = "manifest.sha256", "state.json", "best.weights.h5"
GROUPS = ("model", "optimizer", "metrics", "average")
ARRAYS = tuple(f"{group}.npz" for group in GROUPS)

_NAME = re.compile(r"step-(\d{9})")
_LINE = re.compile(r"([0-9a-f]{64})  ([a-z0-9_.]+)")


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
            for group in GROUPS:
                np.savez(temporary / f"{group}.npz", allow_pickle=False, **_numbered(snapshot.arrays[group]))
            if self.best.exists():
                _link(self.best, temporary / BEST)
            state = {
                "format": FORMAT,
                "step": snapshot.step,
                "seconds": snapshot.seconds,
                "averaged": snapshot.averaged,
                "history": [asdict(epoch) for epoch in snapshot.history],
            }
            (temporary / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
            lines = [f"{_digest(file)}  {file.name}\n" for file in sorted(temporary.iterdir())]
            (temporary / MANIFEST).write_text("".join(lines), encoding="ascii")
        before = [self._directory(step) for step in self._steps() if step < snapshot.step]
        for old in list(filter(_is_ours, before))[KEPT - 1 :]:
            _remove(old)

    def latest(self) -> Snapshot | None:
        """The latest checkpoint that is whole, its best weights put back in place; ``None`` where there is none.

        What is of a later step is removed: training will come there again.

        Raises:
            RunError: there is a link among them.
        """
        check_own(self.path)
        for step in self._steps():
            directory = self._directory(step)
            try:
                snapshot = _read(directory)
            except RunError as error:
                note(f"{error} It is not used.")
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
        """Remove what a process that was killed has left half written."""
        for left in filter(is_temporary, self._entries()):
            _remove(left)

    def remove(self) -> None:
        """Remove all of them, at the end of a training; what somebody else has put there stays."""
        self.sweep()
        for step in self._steps():
            _remove(self._directory(step))
        if is_own_folder(self.path):
            with suppress(OSError):
                self.path.rmdir()

    def _steps(self) -> list[int]:
        """Of the checkpoints there are, the latest first."""
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
    """Remove a checkpoint, file by file; a directory that holds anything else is left as it is."""
    if _is_ours(directory):
        with suppress(OSError):
            for file in directory.iterdir():
                file.unlink()
            directory.rmdir()


def _read(directory: Path) -> Snapshot:
    """Verify and read a checkpoint.

    Raises:
        RunError: a file is missing, damaged, or of a newer format.
    """
    try:
        _verify(directory)
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
        if state["format"] != FORMAT:
            raise RunError(f"The checkpoint {directory} has format {state['format']}; this version reads {FORMAT}.")
        history = tuple(Epoch(**epoch) for epoch in state["history"])
        arrays = {group: list(_arrays(directory / f"{group}.npz")) for group in GROUPS}
        return Snapshot(state["step"], state["seconds"], history, _averaged(state), arrays)
    except (OSError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise RunError(f"The checkpoint {directory} is damaged: {one_line(error).rstrip('.')}.") from error


def _averaged(state: dict[str, Any]) -> int:
    """The last step that the average of weights has read; older packages counted readings, at steps 1, 5, 9, ..."""
    if "averaged" in state:
        return int(state["averaged"])
    return max(4 * int(state["updates"]) - 3, 0)


def _verify(directory: Path) -> None:
    """Compare every file with the manifest.

    Raises:
        ValueError: something is not as it was written.
    """
    lines = (directory / MANIFEST).read_text(encoding="ascii").split("\n")
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    if lines[-1] or None in found:
        raise ValueError("its manifest is no list of digests")
    digests = {match[2]: match[1] for match in found if match}
    there = {file.name for file in directory.iterdir()} - {MANIFEST}
    if digests.keys() != there or len(digests) != len(found) or not {STATE, *ARRAYS} <= there:
        raise ValueError(f"it has the files {sorted(there)}, its manifest those of {sorted(digests)}")
    for name, digest in digests.items():
        if _digest(directory / name) != digest:
            raise ValueError(f"{name} is not as it was written")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _numbered(arrays: Iterable[np.ndarray]) -> dict[str, Any]:
    return {f"{index:06d}": array for index, array in enumerate(arrays)}


def _arrays(file: Path) -> Iterator[np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        for name in sorted(archive.files):
            yield archive[name]


def _link(existing: Path, new: Path) -> None:
    """Another name for a file, which is never changed in place; a copy where the file system has no such thing."""
    try:
        os.link(existing, new)
    except OSError:
        shutil.copyfile(existing, new)
