from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator

import pytest

from cnn_registry.progress import note, progress


def test_a_note_is_a_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    note("Decoding")
    assert capsys.readouterr() == ("", "Decoding\n")


def test_in_a_log_progress_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Decoding 3 images", 3) as advance:
        for _ in range(3):
            advance(1)
    assert capsys.readouterr() == ("", "Decoding 3 images\n")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard error on a terminal of 100 columns; what it shows can be read from the descriptor."""
    shown, written = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with os.fdopen(written, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        yield shown
    os.close(shown)


@pytest.mark.parametrize(
    ("total", "unit", "done"), [(3, "", "3/3"), (3, "images", "3/3"), (3_000_000, "bytes", "3.0/3.0 MB")]
)
def test_on_a_terminal_progress_is_a_bar(terminal: int, total: int, unit: str, done: str) -> None:
    with progress("Working", total, unit=unit) as advance:
        for _ in range(3):
            advance(total // 3)
    shown = os.read(terminal, 1 << 16).decode()
    assert "Working" in shown
    assert done in shown


def test_an_error_ends_the_bar_and_comes_through(terminal: int) -> None:
    with pytest.raises(ValueError, match="no luck"), progress("Working", 2):
        raise ValueError("no luck")
    assert "Working" in os.read(terminal, 1 << 16).decode()
