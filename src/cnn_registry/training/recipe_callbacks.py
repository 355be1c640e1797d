"""Callbacks that a recipe lists, and what they keep from one part of a training to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.errors import RunError, UsageError
from cnn_registry.system.objects import Reference, called, named_object
from cnn_registry.text import one_line

if TYPE_CHECKING:
    import keras

STATE = ("get_state", "set_state")
"""Methods of a callback that resumes where it was: they give and take what can be written as JSON."""

Callbacks = Mapping[str, "keras.callbacks.Callback"]
"""Callbacks by how the recipe lists them."""


def build_callbacks(listed: Sequence[str]) -> dict[str, keras.callbacks.Callback]:
    """The callbacks of a recipe, new ones for each training.

    Raises:
        UsageError: there is no such object, it does not make a callback, or it is listed twice.
    """
    kind = backend.keras().callbacks.Callback
    made: dict[str, keras.callbacks.Callback] = {}
    for text in listed:
        reference = Reference.parse(text)
        callback = called(named_object(reference.name, "the callback"), "The callback", **reference.options)
        if not isinstance(callback, kind):
            raise UsageError(
                f"{reference.name} must make a keras.callbacks.Callback; it made {type(callback).__name__}."
            )
        if text in made:
            raise UsageError(f"The callback {text!r} is listed twice; remove one.")
        made[text] = callback
    return made


def without_state(callbacks: Callbacks) -> list[str]:
    """Those that cannot be resumed where they were."""
    return [text for text, callback in callbacks.items() if not all(hasattr(callback, name) for name in STATE)]


def states(callbacks: Callbacks) -> dict[str, Any]:
    """What each of the others keeps.

    Raises:
        RunError: it cannot be written as JSON.
    """
    found = {}
    for text, callback in callbacks.items():
        if text in without_state({text: callback}):
            continue
        state = callback.get_state()
        try:
            found[text] = json.loads(json.dumps(state))
        except (TypeError, ValueError) as error:
            raise RunError(f"The state of the callback {text} cannot be saved: {one_line(error)}.") from error
    return found


def restore_states(callbacks: Callbacks, kept: Mapping[str, Any]) -> None:
    """Give each callback what it kept.

    Raises:
        RunError: it does not take it, for instance because the checkpoint was changed.
    """
    for text, callback in callbacks.items():
        if text not in kept or not hasattr(callback, STATE[1]):
            continue
        try:
            callback.set_state(kept[text])
        except Exception as error:  # a callback may be anyone's code
            raise RunError(
                f"The state of the callback {text} in the checkpoint cannot be restored: {one_line(error)}."
            ) from error
