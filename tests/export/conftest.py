from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cnn_registry.export import FORMATS, Export
from cnn_registry.registry.current import Registry, use_registry
from cnn_registry.runs.run import load_run


@contextmanager
def as_trained(run: Path) -> Iterator[None]:
    """Within it, the plugin of a run of the fixture ``trained_once`` is installed, and no other."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(run.parents[1] / "site"))
        monkeypatch.setenv("CNNREG_PLUGINS", "cnnreg-tiny")
        monkeypatch.setenv("CNNREG_CACHE", str(run.parents[1] / "cache"))
        with use_registry(Registry()):
            yield
    sys.modules.pop("cnnreg_tiny", None)  # so that other tests can install another one


@pytest.fixture(scope="session")
def exports(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Export]:
    """A trained network in every format, in float32, by the name of the format."""
    root = tmp_path_factory.mktemp("exports")
    with as_trained(trained_once):
        run = load_run(trained_once)
        return {name: run.export(name, root / name) for name in FORMATS}
