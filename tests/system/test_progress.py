from __future__ import annotations

import os
import pty
import sys
from collections.abc import Callable

import pytest

from cnn_registry.system.progress import note, progress

SHOW_CURSOR = "\x1b[?25h"


def test_a_note_is_a_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    note("Decoding")
    assert capsys.readouterr() == ("", "Decoding\n")


def test_in_a_log_progress_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Decoding 3 images", 3) as advance:
        for _ in range(3):
            advance(1)
    assert capsys.readouterr() == ("", "Decoding 3 images\n")


Show = Callable[[Callable[[], None]], str]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Do some work with standard error on a terminal of 100 columns, and return everything that it shows."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    def show(work: Callable[[], None]) -> str:
        terminal, written = pty.openpty()
        with os.fdopen(terminal, "rb", buffering=0) as output, os.fdopen(written, "w") as stderr:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stderr", stderr)
                work()
            os.set_blocking(terminal, False)
            return (output.read() or b"").decode()

    return show


@pytest.mark.parametrize(
    ("total", "unit", "done"), [(3, "", "3/3"), (3, "images", "3/3"), (3_000_000, "bytes", "3.0/3.0 MB")]
)
def test_on_a_terminal_progress_is_a_bar(show: Show, total: int, unit: str, done: str) -> None:
    def work() -> None:
        with progress("Working", total, unit=unit) as advance:
            for _ in range(3):
                advance(total // 3)

    shown = show(work)
    assert "Working" in shown
    assert done in shown


def test_an_error_ends_the_bar_and_comes_through(show: Show) -> None:
    def work() -> None:
        with pytest.raises(ValueError, match="no luck"), progress("Working", 2):
            raise ValueError("no luck")

    shown = show(work)
    assert "0/2" in shown
    assert shown.endswith(SHOW_CURSOR)
