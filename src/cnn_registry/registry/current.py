"""The registry's state in one object, and which one is in use.

There is one for the process, seen by every thread. A test that wants its own writes ``with use_registry(Registry())``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .catalogue import Catalogue
from .discovery import DATASETS, MODELS, Plugins
from .policy import Policy
from .spec import DatasetSpec, ModelSpec


class Registry:
    """What is installed and what was registered in this session.

    Args:
        policy: which distributions may provide plugins; default what the environment says at each lookup.

    Attributes:
        plugins: what is installed, and what of it was imported.
        models: the models by name.
        datasets: the datasets by name.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.plugins = Plugins(policy)
        self.models: Catalogue[ModelSpec] = Catalogue(
            self.plugins, MODELS, ModelSpec, "model", "See all with: cnnreg list"
        )
        self.datasets: Catalogue[DatasetSpec] = Catalogue(
            self.plugins, DATASETS, DatasetSpec, "dataset", "See all with: cnnreg datasets"
        )


_current = Registry()


def current_registry() -> Registry:
    """The registry in use."""
    return _current


@contextmanager
def use_registry(registry: Registry) -> Iterator[Registry]:
    """Use ``registry`` within, in every thread."""
    global _current
    before, _current = _current, registry
    try:
        yield registry
    finally:
        _current = before


def use_policy(policy: Policy | None) -> None:
    """Use ``policy`` from now on, in every thread; ``None`` goes back to what the environment says."""
    _current.plugins.policy_in_force = policy


def current_policy() -> Policy:
    """The policy in force."""
    return _current.plugins.policy


def refresh() -> None:
    """Look at every installed plugin again.

    Plugins that are installed or removed while Python runs are noticed without it. It is for a plugin whose files were
    edited in place, and for one that failed to import and would not fail now.
    """
    _current.plugins.refresh()
