"""What lies in the folders of a dataset: images, and everything that is passed over, which is counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnn_registry.text import counted, listing, natural_key

from .formats import HEIF_HINT, suffixes

NOT_DATA = {
    "run.json": "run directory",
    "folds.json": "cross-validation",
    "packed.json": "packed dataset",
    "packing.json": "packed dataset",
    "pyvenv.cfg": "virtual environment",
    "CACHEDIR.TAG": "cache directory",
    "args.yaml": "run directory",
    "hparams.yaml": "run directory",
    "wandb-metadata.json": "run directory",
}
"""Files that mark a folder as something else than a folder of images; the last three are those of other programs."""

_LITTER = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),  # Windows
        "__macosx",
        "lost+found",  # Linux
        *("@eadir", "#recycle"),  # network storage, which puts a small copy of each image into the former
        "__pycache__",
    }
)
"""What systems leave in folders of images, in lower case. It is ignored, as are hidden files."""

_LONGEST_NUMBER = 18
"""Digits of a number in a name up to which many names are ordered at once."""

_FEW = 30
"""Names that are ordered sooner one by one."""

_OUTSIDE = " outside of class folders"
_NAMED = 6
"""Kinds of files that a message names."""


class _Inside(NamedTuple):
    """The names of what is in a folder and is shown, in no order."""

    files: list[str]
    folders: list[str]


class Walk:
    """A walk through the folders of a dataset, which counts what it passes over.

    Args:
        root: the folder of the dataset.
        sorted_up_to: with more entries than this, `images` has the order of the file system, and entries are read as
            they are needed; default all are sorted.

    Attributes:
        passed_over: the number of files of each kind that are not used.
        left_out: folders that hold something else than a dataset, and what they are.
    """

    def __init__(self, root: Path, sorted_up_to: int | None = None) -> None:
        self.root = root
        self._sorted_up_to = sorted_up_to
        self.passed_over: Counter[str] = Counter()
        self.left_out: dict[Path, str] = {}
        self._suffixes = suffixes()
        self._endings = tuple(self._suffixes) + tuple(map(str.upper, self._suffixes))
        self._roots: set[tuple[int, int]] = set()
        self._seen: set[tuple[int, int]] = set()
        self._read: dict[Path, _Inside] = {}
        self._kinds: dict[Path, str] = {}

    def folders(self, folder: Path) -> list[Path]:
        """The folders in ``folder``, in natural order. Files beside them are passed over."""
        self._roots.add(_identity(folder))
        self._seen = set(self._roots)  # so that links between the parts of a dataset are followed
        inside = self._inside(folder)
        for name in in_natural_order(inside.files):
            self._pass_over(name, _OUTSIDE)
        return [path for path in self.subfolders(folder) if not self._leaves_out(path)]

    def subfolders(self, folder: Path) -> list[Path]:
        """The folders in ``folder`` that are not hidden, in natural order. What was read of a folder is remembered."""
        return [folder / name for name in in_natural_order(self._inside(folder).folders)]

    def names(self, folder: Path) -> list[str]:
        """The image files at any depth in ``folder``, as paths relative to the root, in natural order.

        Links to folders are not walked in circles.
        """
        if not self._enters(folder):
            return []
        inside = self._inside(folder)
        self._read[folder] = _Inside([], inside.folders)  # names take memory; this folder is not walked again
        files = self._image_names(inside.files)
        prefix = os.path.join(folder.relative_to(self.root), "") if folder != self.root else ""  # noqa: PTH118
        if not inside.folders:
            return list(map(prefix.__add__, in_natural_order(files)))
        found: list[str] = []
        folders = set(inside.folders)
        for name in in_natural_order([*files, *folders]):
            if name in folders:
                found += self.names(folder / name)
            else:
                found.append(prefix + name)
        return found

    def images(self, folder: Path) -> Iterator[Path]:
        """The image files at any depth in ``folder``, in natural order; otherwise as `names`."""
        if not self._enters(folder):
            return
        for entry in _entries(folder, self._sorted_up_to):
            if _is_folder(entry):
                yield from self.images(Path(entry.path))
            elif self._image_names([entry.name]):
                yield folder / entry.name  # a link to nowhere and a pipe are images that cannot be read

    def summary(self) -> Iterator[str]:
        """One line about the folders that were left out, and one about the files that were passed over."""
        if self.left_out:
            kinds: dict[str, list[str]] = {}
            for folder, what in self.left_out.items():
                kinds.setdefault(what, []).append(folder.relative_to(self.root).as_posix())
            named = [f"{counted(len(folders), what)} ({listing(folders, 3)})" for what, folders in kinds.items()]
            yield f"Left out of {self.root}: {', '.join(named)}."
        if self.passed_over:
            yield self._passed_over_line()

    def _passed_over_line(self) -> str:
        total = self.passed_over.total()
        kinds = self.passed_over.most_common()
        named = [f"{count:,} {kind}" for kind, count in kinds[:_NAMED]]
        if more := sum(count for _, count in kinds[_NAMED:]):
            named.append(f"{more:,} of other kinds")
        files = "file" if total == 1 else "files"
        hint = HEIF_HINT if any(kind.startswith((".heic", ".heif")) for kind in self.passed_over) else ""
        return f"{total:,} {files} passed over in {self.root}: {', '.join(named)}. {hint}".rstrip()

    def _enters(self, folder: Path) -> bool:
        """Whether a folder is to be walked. It is remembered if not."""
        identity = _identity(folder)
        if identity in self._seen:
            self.left_out[folder] = "repeated folder"
        if identity in self._seen or self._leaves_out(folder):
            return False
        self._seen.add(identity)
        return True

    def _inside(self, folder: Path) -> _Inside:
        """The names of what is in a folder, which is read once."""
        if folder not in self._read:
            self._read[folder] = _read(folder)
        return self._read[folder]

    def _image_names(self, names: Sequence[str]) -> list[str]:
        """The names of image files; the others are passed over."""
        found = [name for name in names if name.endswith(self._endings)]
        if len(found) == len(names):
            return found
        others = [name for name in names if _suffix(name) not in self._suffixes]
        for name in in_natural_order(others):
            self._pass_over(name)
        return [name for name in names if _suffix(name) in self._suffixes] if others else list(names)

    def _pass_over(self, name: str, where: str = "") -> None:
        suffix = _suffix(name)
        kind = "without a suffix" if not suffix else suffix if len(suffix) <= 10 else "with a long suffix"
        self.passed_over[kind + (where if suffix in self._suffixes else "")] += 1

    def _leaves_out(self, folder: Path) -> bool:
        """Whether a folder is something else than a folder of images. It is remembered if so."""
        if folder not in self._kinds:
            self._kinds[folder] = kind_of(folder)
        if what := self._kinds[folder]:
            self.left_out[folder] = what
        return bool(what)


def kind_of(folder: Path) -> str:
    """What a folder is by a file in it, as `NOT_DATA` says; an empty string if it may hold images."""
    start = os.path.join(folder, "")  # noqa: PTH118 - this and the next are several times as fast as Path
    return next((what for name, what in NOT_DATA.items() if os.path.isfile(start + name)), "")  # noqa: PTH113


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Names sorted by `natural_key`, and those with equal keys as text."""
    ordered = sorted(names)
    if len(ordered) < 2:
        return ordered
    keys = _padded(ordered) if len(ordered) > _FEW else None
    by_key: Sequence[object] = [natural_key(name) for name in ordered] if keys is None else keys
    return [ordered[place] for place in sorted(range(len(ordered)), key=by_key.__getitem__)]  # type: ignore[arg-type]


def _padded(names: Sequence[str]) -> list[str] | None:
    """Texts that sort as `natural_key` sorts names: numbers have as many digits each, after a character before all.

    A thousand names take hardly longer than a few. ``None`` where that cannot be done.
    """
    joined = "\n".join(names).lower()
    if not joined.isascii() or joined.count("\n") != len(names) - 1 or "\0" in joined:
        return None
    text = np.frombuffer(joined.encode(), np.uint8)
    is_digit = np.diff((text - np.uint8(ord("0")) < 10).astype(np.int8), prepend=0, append=0)
    begins, ends = np.flatnonzero(is_digit == 1), np.flatnonzero(is_digit == -1)
    lengths = ends - begins
    if not len(begins):
        return joined.split("\n")
    longest = int(lengths.max())
    if longest > _LONGEST_NUMBER:
        return None
    before = np.zeros(len(text), np.int64)
    before[begins] = longest + 1 - lengths
    places = np.arange(len(text)) + np.cumsum(before)
    padded = np.full(len(text) + int(before.sum()), ord("0"), np.uint8)
    padded[places] = text
    padded[places[begins] - before[begins]] = 0
    return padded.tobytes().decode("ascii").split("\n")


def _read(folder: Path) -> _Inside:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                (folders if entry.is_dir() else files).append(entry.name)
            except OSError:  # a link that leads to itself, or to where nothing may be read
                files.append(entry.name)
    return _Inside(_shown(files), _shown(folders))


def _shown(names: list[str]) -> list[str]:
    if _LITTER.isdisjoint(map(str.lower, names)):
        return [name for name in names if name[0] != "."]
    return [name for name in names if _is_shown(name)]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - twice as fast as Path


def _entries(folder: Path, sorted_up_to: int | None = None) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        shown = (entry for entry in entries if _is_shown(entry.name))
        first = list(islice(shown, sorted_up_to))
        following = next(shown, None)
        if following is None:
            first.sort(key=_order)
            yield from first
        else:
            yield from chain(first, [following], shown)


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _LITTER


def _order(entry: os.DirEntry[str]) -> tuple[list[tuple[int, str]], str]:
    return natural_key(entry.name), entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or to where nothing may be read
        return False


def _identity(folder: Path) -> tuple[int, int]:
    """What distinguishes a folder from all others, whatever path or link leads there."""
    facts = folder.stat()
    return facts.st_dev, facts.st_ino
