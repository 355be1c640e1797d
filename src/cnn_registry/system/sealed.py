"""Digests that show damage: of JSON data, and at the start of a file of bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import is_own_file, read_regular, whole_file

_SEAL = 32
"""Bytes of the SHA-256 of what follows it."""


def json_digest(body: Mapping[str, Any]) -> str:
    """The SHA-256 of JSON data, in hexadecimal digits; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path, content: bytes) -> None:
    """Write a file with its digest, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)


def read_sealed(path: Path) -> bytes | None:
    """What `write_sealed` wrote; ``None`` where the file is missing, damaged, or not a regular file of its own."""
    if not is_own_file(path):
        return None
    try:
        stored = read_regular(path, path.lstat().st_size)
    except OSError:
        return None
    content = stored[_SEAL:]
    return content if hashlib.sha256(content).digest() == stored[:_SEAL] else None
