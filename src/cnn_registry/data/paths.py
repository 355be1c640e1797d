"""Many files below one folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload


class PathsBelow(Sequence[Path]):
    """Paths of files below a folder, each made when it is asked for: a million `Path` objects take half a gigabyte.

    Args:
        root: the folder.
        names: the files' paths relative to it.
    """

    __slots__ = ("_names", "_root")

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root = os.path.join(root, "")  # noqa: PTH118 - with the separator at its end
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, position: int) -> Path: ...

    @overload
    def __getitem__(self, position: slice) -> PathsBelow: ...

    def __getitem__(self, position: int | slice) -> Path | PathsBelow:
        if isinstance(position, slice):
            return PathsBelow(Path(self._root), self._names[position])
        return Path(self._root + self._names[position])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Path.__eq__, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def texts(self) -> Iterable[str]:
        """The paths as text."""
        return map(self._root.__add__, self._names)

    def select(self, kept: Iterable[int]) -> PathsBelow:
        """The paths at some positions."""
        return PathsBelow(Path(self._root), [self._names[position] for position in kept])
