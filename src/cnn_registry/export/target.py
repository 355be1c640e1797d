"""The folder of an export: what may already exist, and how its files are recognized."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_registry.errors import UsageError
from cnn_registry.system.files import is_own_file, is_own_folder, read_regular

RECORD = "export.json"
MAX_BYTES = 2**26
"""The largest ``export.json`` that is read."""

SAME = ("format", "precision", "run", "trained", "weights")
"""The facts by which two exports are of the same network in the same form."""


def refuse_taken(out: Path, facts: Mapping[str, Any]) -> None:
    """Refuse a folder that holds anything but an unchanged, earlier export of the same network in the same form.

    Raises:
        UsageError: it does. Nothing was written.
    """
    if not os.path.lexists(out) or (is_own_folder(out) and not any(out.iterdir())):
        return
    if not is_own_folder(out) or not _is_earlier(out, facts):
        raise UsageError(
            f"{out} exists already, and is not an unchanged export of the same run in the same form; "
            f"nothing was written. Name another folder with -o."
        )


def _is_earlier(out: Path, facts: Mapping[str, Any]) -> bool:
    try:
        record = json.loads(read_regular(out / RECORD, MAX_BYTES))
        return all(record[name] == facts[name] for name in SAME) and record["files"] == digests(out)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in ``folder`` except the record, by its path there.

    Raises:
        ValueError: there is a link, a pipe or a device, which may have no end.
    """
    found = {}
    for file in sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()):
        name = file.relative_to(folder).as_posix()
        if name != RECORD:
            if not is_own_file(file):
                raise ValueError(f"{name} is not a regular file")
            with file.open("rb") as content:
                found[name] = hashlib.file_digest(content, "sha256").hexdigest()
    return found
