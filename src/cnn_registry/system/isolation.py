"""Somebody else's code in this process: what it does to the process ends with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

from cnn_registry.text import listing

from .progress import note
from .stdout import stdout_to_stderr

LARGE = ("jax", "tensorflow", "torch")
"""What sets environment variables when it is imported, and reads them later."""


@contextmanager
def isolated(what: str, *, environment: bool = False) -> Iterator[None]:
    """Run somebody else's code within the block.

    What it prints goes to standard error. Where it replaces standard streams, changes the current directory or takes
    Ctrl-C for itself, this is undone, so that output is not lost and relative paths mean what they meant, and a line
    says so.

    Args:
        what: what is run, for that line: ``"Importing acme"``.
        environment: whether changes of environment variables are undone as well. New ones stay where the block imports
            one of `LARGE`.

    Raises:
        RuntimeError: the code raised KeyboardInterrupt by itself. One that comes of Ctrl-C is passed on.
    """
    here, stderr, variables = _current_directory(), sys.stderr, dict(os.environ)
    changed: list[str] = []
    imported = {name for name in LARGE if name in sys.modules}
    try:
        with stdout_to_stderr():
            stdout = sys.stdout
            try:
                with _own_interrupts(changed):
                    yield
            finally:
                if sys.stdout is not stdout or sys.stderr is not stderr:
                    sys.stdout, sys.stderr = stdout, stderr
                    changed.append("the standard streams")
                if here and here != _current_directory():
                    with suppress(OSError):  # it was removed
                        os.chdir(here)
                    changed.append("the current directory")
                keep_new = any(name in sys.modules for name in {*LARGE} - imported)
                if environment and (names := _put_back(variables, keep_new=keep_new)):
                    changed.append(f"the environment variables {listing(names)}")
    finally:
        if changed:
            note(f"{what} changed {' and '.join(changed)}; this was undone.")


@contextmanager
def _own_interrupts(changed: list[str]) -> Iterator[None]:
    """Tell Ctrl-C, which arrives as a signal in the main thread, from a KeyboardInterrupt that the block raises.

    Raises:
        RuntimeError: the block raised one.
    """
    before, pressed = signal.getsignal(signal.SIGINT), False

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        assert callable(before)
        before(number, frame)

    in_main_thread = threading.current_thread() is threading.main_thread()
    within = pass_on if callable(before) else before
    if in_main_thread and within is pass_on:
        signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    except KeyboardInterrupt as error:
        if pressed:
            raise
        fault = RuntimeError("KeyboardInterrupt, though nobody pressed Ctrl-C")
        raise fault.with_traceback(error.__traceback__) from error
    finally:
        if in_main_thread and before is not None:  # else the handler is not Python's, and cannot be put back
            if signal.getsignal(signal.SIGINT) is not within:
                changed.append("what Ctrl-C does")
            signal.signal(signal.SIGINT, before)


def _put_back(variables: Mapping[str, str], *, keep_new: bool) -> list[str]:
    """Restore the environment, and return the names of the variables that were changed."""
    names = [name for name in {**variables, **os.environ} if variables.get(name) != os.environ.get(name)]
    if keep_new:
        names = [name for name in names if name in variables]
    for name in names:
        if name in variables:
            os.environ[name] = variables[name]
        else:
            del os.environ[name]
    return sorted(names)


def _current_directory() -> str:
    """The current directory, or an empty string where it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - a plain string
    except OSError:
        return ""
