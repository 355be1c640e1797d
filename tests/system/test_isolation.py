"""Somebody else's code leaves the streams and the current directory as they were."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from cnn_registry.system.isolation import isolated
from cnn_registry.system.stdout import stdout_to_stderr


def test_streams_and_the_current_directory_are_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sys.stdout, sys.stderr

    def rude() -> None:
        print("within")
        os.chdir(os.sep)
        sys.stdout = sys.stderr = io.StringIO()
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"), isolated("Importing acme"):
        rude()
    assert (sys.stdout, sys.stderr) == before
    assert Path.cwd() == tmp_path
    said = "Importing acme changed the standard streams and the current directory; this was undone."
    assert capsys.readouterr() == ("", f"within\n{said}\n")


def test_an_outer_block_keeps_its_stream(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with stdout_to_stderr():
        with isolated("Importing acme"):
            sys.stdout = io.StringIO()
        print("outer")
    assert sys.stdout is before
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "outer")


def test_a_current_directory_that_was_removed_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    with isolated("Importing acme"):
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path
