"""What a training writes into a run directory, and what may be there."""

from __future__ import annotations

import os
from pathlib import Path

from cnn_registry.errors import RunError
from cnn_registry.system.files import check_own, is_own_folder
from cnn_registry.text import printable

from . import lock

CONTENTS = "images.digests"
"""Digests of images that are read while they are trained on; removed when the training has ended."""

FOLDERS = ("checkpoints", "tensorboard")
FILES = (
    "run.json",
    "labels.txt",
    "history.csv",
    "best.weights.h5",
    "last.weights.h5",
    "report.json",
    "curves.png",
    "confusion.png",
    "report.html",
    CONTENTS,
    lock.NAME,
)
"""What a training writes."""


def check_own_files(path: Path) -> None:
    """Refuse a run that holds anything but files and folders of its own; ``path`` itself may be a link.

    Raises:
        RunError: it does, or it cannot be read.
    """
    try:
        entries = list(path.iterdir())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    for entry in entries:
        check_own(entry)


def check_kinds(path: Path) -> None:
    """Refuse folders where a training writes files, and files where it makes folders.

    Raises:
        RunError: there is one.
    """
    for name in FOLDERS:
        if os.path.lexists(path / name) and not is_own_folder(path / name):
            raise RunError(f"{path / name} is a file; expected a folder. Move it elsewhere.")
    for name in FILES:
        if is_own_folder(path / name):
            raise RunError(f"{path / name} is a folder; expected a file. Move it elsewhere.")


def label_line(name: str) -> str:
    r"""A class's name as one line of ``labels.txt``; different names give different lines.

    What a terminal obeys is written as an escape, ``\x1b`` for instance, and a backslash as two.
    """
    return printable(name.replace("\\", "\\\\"))
