"""What lies in the folders of a dataset: images, and everything that is passed over, which is counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

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

_OUTSIDE = " outside of class folders"
_NAMED = 6
"""Kinds of files that a message names."""


class Walk:
    """A walk through the folders of a dataset, which counts what it passes over.

    Args:
        root: the folder of the dataset.
        sorted_up_to: with more entries than this, a folder has the order of the file system, and its entries are read
            as they are needed; default all are sorted.

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
        self._roots: set[tuple[int, int]] = set()
        self._seen: set[tuple[int, int]] = set()

    def folders(self, folder: Path) -> list[Path]:
        """The folders in ``folder``, in natural order. Files beside them are passed over."""
        self._roots.add(_identity(folder))
        self._seen = set(self._roots)  # so that links between the parts of a dataset are followed
        found = []
        for entry in _entries(folder):
            if _is_folder(entry):
                found.append(Path(entry.path))
            else:
                self._pass_over(entry.name, _OUTSIDE)
        return [path for path in found if not self._leaves_out(path)]

    def images(self, folder: Path) -> Iterator[Path]:
        """The image files at any depth in ``folder``, in natural order. Links to folders are not walked in circles."""
        identity = _identity(folder)
        if identity in self._seen:
            self.left_out[folder] = "repeated folder"
        if identity in self._seen or self._leaves_out(folder):
            return
        self._seen.add(identity)
        for entry in _entries(folder, self._sorted_up_to):
            if _is_folder(entry):
                yield from self.images(Path(entry.path))
            elif os.path.splitext(entry.name)[1].lower() in self._suffixes:  # noqa: PTH122 - twice as fast as Path
                yield folder / entry.name  # a link to nowhere and a pipe are images that cannot be read
            else:
                self._pass_over(entry.name)

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

    def _pass_over(self, name: str, where: str = "") -> None:
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - as above
        kind = "without a suffix" if not suffix else suffix if len(suffix) <= 10 else "with a long suffix"
        self.passed_over[kind + (where if suffix in self._suffixes else "")] += 1

    def _leaves_out(self, folder: Path) -> bool:
        """Whether a folder is something else than a folder of images. It is remembered if so."""
        if what := kind_of(folder):
            self.left_out[folder] = what
        return bool(what)


def kind_of(folder: Path) -> str:
    """What a folder is by a file in it, as `NOT_DATA` says; an empty string if it may hold images."""
    return next((what for name, what in NOT_DATA.items() if (folder / name).is_file()), "")


def subfolders(folder: Path) -> list[Path]:
    """The folders in ``folder`` that are not hidden, in natural order."""
    with os.scandir(folder) as entries:  # not sorted before the files are gone, of which there may be many
        found = [entry for entry in entries if _is_shown(entry) and _is_folder(entry)]
    return [Path(entry.path) for entry in sorted(found, key=_order)]


def _entries(folder: Path, sorted_up_to: int | None = None) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        shown = (entry for entry in entries if _is_shown(entry))
        first = list(islice(shown, sorted_up_to))
        following = next(shown, None)
        if following is None:
            first.sort(key=_order)
            yield from first
        else:
            yield from chain(first, [following], shown)


def _is_shown(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.name.lower() not in _LITTER


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
