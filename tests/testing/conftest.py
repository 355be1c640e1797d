"""What the tests of the conformance kit share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from cnn_registry import backend

if TYPE_CHECKING:
    from tests.conftest import FakePlugins


@pytest.fixture(autouse=True)
def readers_are_warm(warm_executable: None) -> None:
    """The kit's process that reads saved networks has TensorFlow already; those that import declarations are new."""


@pytest.fixture
def quick_tensorflow(plugins: FakePlugins) -> Callable[[], None]:
    """Let new processes find a TensorFlow that is imported at once, beside the plugins that are installed already."""

    def write() -> None:
        backend.tensorflow()  # here it is the real one
        (plugins.root / "site" / "tensorflow.py").write_text("")

    return write
