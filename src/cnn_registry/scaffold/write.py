"""Write a package completely or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from cnn_registry.errors import CnnRegistryError, UsageError


def write(files: Mapping[str, str], target: Path) -> None:
    """Make the folder ``target`` with ``files`` in it, and any missing folders above it.

    The files are written into another folder beside it, which is then renamed.

    Args:
        files: texts by their path in the folder.
        target: must not exist.

    Raises:
        UsageError: ``target`` exists.
        CnnRegistryError: the files could not be written; none of them remains.
    """
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already; nothing was written. Choose another place with --out.")
    staging = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        for name, text in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        staging.rename(target)
    except OSError as error:
        raise CnnRegistryError(f"{target} could not be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
