"""Keras' settings, as the published networks assume them, while one of these is built, trained or run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from cnn_registry.system.progress import note

from .environment import keras

AS_PUBLISHED = "models are built as published, with channels last, in float32"
AS_ASKED = "networks are trained as their recipe says, and run on all images"

STANDARD: dict[str, tuple[Any, str]] = {
    "image_data_format": ("channels_last", AS_PUBLISHED),
    "floatx": ("float32", AS_PUBLISHED),
    "epsilon": (1e-7, AS_ASKED),
    "max_epochs": (None, AS_ASKED),
    "max_steps_per_epoch": (None, AS_ASKED),
}
"""Keras' settings for the process, each with the value that is used, and why."""

_lock = threading.Lock()
_users = 0
_before: dict[str, Any] = {}
_thread = threading.local()


@contextmanager
def standard_settings(dtype_policy: str = "float32") -> Iterator[None]:
    """Within it, images are channels-last, and new layers compute in float32, whatever the user's settings are.

    ``keras.json``, ``keras.config.set_image_data_format``, ``set_floatx`` and ``set_dtype_policy`` would otherwise make
    another network of a model, or one that cannot be built; ``set_epsilon`` another loss; ``set_max_epochs``,
    ``set_max_steps_per_epoch`` and their environment variables would end trainings and evaluations early. Afterwards
    the settings are what they were. If the user's differ, a line says so once.

    The dtype policy is the thread's, the others are the process's: while any thread is within, layers that others
    make for themselves are channels-last and float32.

    Args:
        dtype_policy: the policy of new layers. Within another block, that one's.
    """
    config = keras().config
    is_outermost = not getattr(_thread, "inside", False)
    found = config.dtype_policy()  # before `floatx` changes, from which Keras derives it
    _enter(config)
    try:
        if not is_outermost:
            yield
            return
        if found.name != "float32" and dtype_policy == "float32":
            _note_ignored(f"dtype policy {found.name}")
        _thread.inside = True
        config.set_dtype_policy(dtype_policy)
        try:
            yield
        finally:
            _thread.inside = False
            config.set_dtype_policy(found)
    finally:
        _leave(config)


def _enter(config: Any) -> None:
    global _users
    with _lock:
        if _users == 0:
            for name, (value, _) in STANDARD.items():
                _before[name] = getattr(config, name)()
                getattr(config, f"set_{name}")(value)
        _users += 1
    for name, (value, why) in STANDARD.items():
        if _before[name] != value:
            _note_ignored(f"{name} {_before[name]}", why)


def _leave(config: Any) -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            for name, value in _before.items():
                getattr(config, f"set_{name}")(value)


@cache
def _note_ignored(setting: str, why: str = AS_PUBLISHED) -> None:
    """Say once that a setting has no effect."""
    note(f"Keras' {setting} is not used: {why}.")
