"""Somebody else's code in this process: what it does to the process ends with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .stdout import kept_stdout, stdout_to_stderr


@contextmanager
def isolated() -> Iterator[None]:
    """Run somebody else's code within the block.

    What it prints goes to standard error. Where it replaces standard streams or changes the current directory, they are
    put back, so that output is not lost and relative paths mean what they meant.
    """
    here, errors = _current_directory(), sys.stderr
    try:
        with kept_stdout(), stdout_to_stderr():
            yield
    finally:
        sys.stderr = errors
        if here and here != _current_directory():
            with suppress(OSError):  # it was removed
                os.chdir(here)


def _current_directory() -> str:
    """The current directory, or an empty string where it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - a plain string
    except OSError:
        return ""
