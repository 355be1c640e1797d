"""Checks of what is relied on, and the line that says what does not hold."""

from __future__ import annotations

from collections.abc import Callable

from cnn_registry.system.progress import note
from cnn_registry.text import one_line

from .. import environment


def holds(works: Callable[[], bool], what: str, consequence: str) -> bool:
    """Whether a check succeeds; a line where it does not, or fails in any way."""
    try:
        works_here, fault = works(), ""
    except Exception as error:  # whatever a renamed attribute or another signature leads to
        works_here, fault = False, f" ({one_line(error)})"
    if not works_here:
        note_difference(f"{what} are not as expected{fault}", consequence)
    return works_here


def note_difference(what: str, consequence: str) -> None:
    """One line about what is not as it was when this package was written."""
    note(f"In Keras {environment.keras().__version__}, {what}; {consequence}.")
