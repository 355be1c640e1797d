"""The page about using a run is followed to the letter."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.test_docs import ROOT, Reader


class Here:
    """The environment of the tests, as that of a reader."""

    binaries = Path(sys.executable).parent

    def variables(self) -> dict[str, str]:
        path = f"{self.binaries}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.mark.slow
def test_every_command_of_the_page_prints_what_it_shows(tmp_path: Path, warm_python: list[str]) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    try:
        Reader(Here(), warm_python, folder).follow(
            (ROOT / "docs" / "use-what-you-trained.md").read_text(encoding="utf-8")
        )
        assert len((folder / "results.csv").read_text(encoding="utf-8").splitlines()) == 1 + 41
    finally:
        if (folder / "serve.pid").exists():
            with suppress(ProcessLookupError):
                os.kill(int((folder / "serve.pid").read_text()), signal.SIGTERM)
