"""Runs for others: what of a run is published on a hub, and how it is sent there. `push` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry.system.lazy import lazy_names

if TYPE_CHECKING:
    from .push import Pushed as Pushed
    from .push import push as push

_HOMES = {"Pushed": "hub.push", "push": "hub.push"}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
