"""``run.json``: the record of a run, and the digest of what was written."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from cnn_registry.errors import RunError
from cnn_registry.text import shorten

from .record import RunRecord

SEAL = b',\n  "sha256": "'
"""What stands between the record in ``run.json`` and the digest of the bytes before it, the file's last value."""

MAX_BYTES = 2**28
"""The largest ``run.json`` that is read: a million images are half of it."""


def read_record(file: Path) -> RunRecord:
    """The record in a file.

    Raises:
        RunError: it cannot be read, is damaged, changed since it was written, or of a newer format.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise RunError(f"{file} has more than {MAX_BYTES:,} bytes, so it is not a run record.")
        content = file.read_bytes()
        body, seal, _ = content.rpartition(SEAL)
        record = RunRecord.model_validate_json(body + b"\n}" if seal else content)
    except (OSError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        if first["loc"] == ("sha256",):  # it is no longer the last line: a program wrote the file again
            raise _unsealed(file) from error
        where = shorten(".".join(str(part) for part in first["loc"]), 100) or "the file"
        raise RunError(f"{file} is damaged or of another version: {where}: {first['msg']}.") from error
    # A record without a digest is one that a person wrote or changed, and says so by having none.
    if seal and content != _with_digest(body):
        raise _unsealed(file)
    return record


def record_text(record: RunRecord) -> str:
    """The content of the file, in the format of this version."""
    current = record.model_copy(update={"format": 2})
    return _with_digest(current.model_dump_json(indent=2).removesuffix("\n}").encode()).decode()


def _unsealed(file: Path) -> RunError:
    return RunError(
        f'{file} fails its SHA-256 check. Restore it from a copy; if you changed it on purpose, remove "sha256" from '
        f"its end."
    )


def _with_digest(body: bytes) -> bytes:
    """A JSON object, given up to its last value, with the digest of these bytes as one more."""
    return body + SEAL + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'
