"""Keras' settings, as the published networks assume them, while one of these is built, trained or run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from cnn_registry.system.progress import note

from .environment import keras

_lock = threading.Lock()
_users = 0
_before: dict[str, str] = {}
_thread = threading.local()


@contextmanager
def standard_settings(dtype_policy: str = "float32") -> Iterator[None]:
    """Within it, images are channels-last, and new layers compute in float32, whatever the user's settings are.

    ``keras.json``, ``keras.config.set_image_data_format``, ``set_floatx`` and ``set_dtype_policy`` would otherwise make
    another network of a model, or one that cannot be built. Afterwards the settings are what they were. If the user's
    differ, a line says so once.

    The dtype policy is the thread's, the other two are the process's: while any thread is within, layers that others
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
            _before.update(image_data_format=config.image_data_format(), floatx=config.floatx())
            config.set_image_data_format("channels_last")
            config.set_floatx("float32")
        _users += 1
    if _before["image_data_format"] != "channels_last":
        _note_ignored(f"image_data_format {_before['image_data_format']}")
    if _before["floatx"] != "float32":
        _note_ignored(f"floatx {_before['floatx']}")


def _leave(config: Any) -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            config.set_image_data_format(_before["image_data_format"])
            config.set_floatx(_before["floatx"])


@cache
def _note_ignored(setting: str) -> None:
    """Say once that a setting has no effect."""
    note(f"Keras' {setting} is not used: models are built as published, with channels last, in float32.")
