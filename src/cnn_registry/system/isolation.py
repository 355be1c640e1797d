"""Somebody else's code in this process: what it does to the process ends with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .progress import note
from .stdout import stdout_to_stderr


@contextmanager
def isolated(what: str) -> Iterator[None]:
    """Run somebody else's code within the block.

    What it prints goes to standard error. Where it replaces standard streams or changes the current directory, they are
    put back, so that output is not lost and relative paths mean what they meant, and a line says so.

    Args:
        what: what is run, for that line: ``"Importing acme"``.
    """
    here, stderr, changed = _current_directory(), sys.stderr, []
    try:
        with stdout_to_stderr():
            stdout = sys.stdout
            try:
                yield
            finally:
                if sys.stdout is not stdout or sys.stderr is not stderr:
                    sys.stdout, sys.stderr = stdout, stderr
                    changed.append("the standard streams")
                if here and here != _current_directory():
                    with suppress(OSError):  # it was removed
                        os.chdir(here)
                    changed.append("the current directory")
    finally:
        if changed:
            note(f"{what} changed {' and '.join(changed)}; this was undone.")


def _current_directory() -> str:
    """The current directory, or an empty string where it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - a plain string
    except OSError:
        return ""
