"""Progress on a terminal, in a notebook, in a log, and where nobody reads."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import pty
import re
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from cnn_registry.system import silence
from cnn_registry.system.progress import muted, note, open_bar, progress, repeated, same_work, working

if TYPE_CHECKING:
    from tests.conftest import RunPython

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


def test_work_that_takes_long_is_announced_once(capsys: pytest.CaptureFixture[str]) -> None:
    with working("Building", after=0.05):
        time.sleep(0.3)
    with working("Nothing", after=5.0):
        pass
    assert capsys.readouterr() == ("", "Building\n")


def test_work_is_announced_while_standard_error_leads_elsewhere(run_python: RunPython) -> None:
    code = """
import os, time
from cnn_registry.system.progress import working
with working("Building", after=0.05):
    kept = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    time.sleep(0.5)
    os.dup2(kept, 2)
"""
    assert run_python("-c", code).stderr == "Building\n"


class Unwritable(io.TextIOBase):
    """A stream whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("stream", [Unwritable(), None])
def test_work_continues_where_nobody_reads(monkeypatch: pytest.MonkeyPatch, stream: Unwritable | None) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    note("Decoding")
    with progress("Decoding", 2) as advance, working("Decoding", after=0.0):
        advance(2)
    assert sys.stderr is stream  # which is neither replaced nor closed


def test_a_terminal_that_is_gone_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, written = pty.openpty()
    stderr = os.fdopen(written, "w")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        with progress("Working", 2) as advance:
            os.close(terminal)
            advance(2)
            note("still there")
            done = True
    assert done
    with contextlib.suppress(OSError):
        stderr.close()


def test_what_goes_to_a_file_stays_there(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with progress("Working", 1):
            print("a result")

    assert "a result" not in show(work)
    assert capsys.readouterr().out == "a result\n"


class Display:
    """The output of a notebook's cell."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, content: dict[str, str], *, raw: bool, display_id: bool) -> Display:
        assert raw
        assert display_id
        return self.update(content, raw=True)

    def update(self, content: dict[str, str], *, raw: bool) -> Display:
        self.shown.append(content["text/plain"])
        return self


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    """What a kernel of Jupyter puts into the process, as far as it is used."""
    output = Display()
    shell = types.SimpleNamespace(kernel=object())
    inner = types.ModuleType("IPython.display")
    inner.display = output.display  # type: ignore[attr-defined]  # a module made up
    outer = types.ModuleType("IPython")
    outer.get_ipython = lambda: shell  # type: ignore[attr-defined]  # likewise
    monkeypatch.setitem(sys.modules, "IPython", outer)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    return output


def test_in_a_notebook_a_line_changes_in_place(
    notebook: Display, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with progress("Decoding 4 images", 4) as advance:
        advance(1)
        advance(3)
    assert notebook.shown[0] == "Decoding 4 images  ░░░░░░░░░░░░░░░░░░░░  0/4"
    assert re.fullmatch(r"Decoding 4 images  █{5}░{15}  1/4  0:00:\d\d left", notebook.shown[1])
    assert notebook.shown[-1] == "Decoding 4 images  ████████████████████  4/4"
    assert capsys.readouterr() == ("", "")


def test_a_notebook_without_a_kernel_is_a_log(monkeypatch: pytest.MonkeyPatch, notebook: Display) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    with progress("Decoding 4 images", 4):
        pass
    assert notebook.shown == []


def test_in_a_log_long_work_has_lines_about_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE", 0.1)
    with progress("Decoding 4 images", 4) as advance:
        advance(3)
        time.sleep(1.0)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "Decoding 4 images"
    assert re.fullmatch(r"Decoding 4 images  3/4  0:00:0\d left", lines[0])
    assert 2 <= len(lines) <= 10


def test_after_some_lines_they_become_rarer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE", 0.1)
    monkeypatch.setattr(silence, "STEADY", 1)
    with working("Building", after=0.1):
        time.sleep(1.0)
    assert 2 <= len(capsys.readouterr().err.splitlines()) <= 4  # after 0.1, 0.2, 0.4, 0.8 s


def test_in_a_log_work_that_has_not_begun_says_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE", 0.05)
    bar = open_bar("Classifying", None)
    time.sleep(0.3)
    bar.update(2, "Classifying", "")
    time.sleep(0.3)
    bar.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line for line, _ in itertools.groupby(lines)] == [
        *("Classifying", "Classifying (0 s)", "Classifying  2"),
        *(["Classifying  2 (0 s)", "Classifying  2 (1 s)"] if lines[-1].endswith("(1 s)") else [lines[-1]]),
    ]


def test_of_several_works_the_innermost_is_spoken_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE", 0.2)
    with working("Exporting", after=0.05):
        with working("Building", total=4, after=60.0) as advance:
            time.sleep(0.15)
            advance(1)
            time.sleep(0.3)
        with working("Converting", after=60.0):
            note("said by the converter")
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Building"  # 60 s are for work that nothing is around
    assert second.startswith("Building  1/4")
    assert last == "said by the converter"


def test_work_is_announced_while_ipython_is_imported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))  # as it is at the beginning
    with working("Importing", after=0.02):
        time.sleep(0.2)
    assert capsys.readouterr().err == "Importing\n"


def test_muted_work_that_takes_long_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_registry.system.silence.SILENCE", 0.001)
    monkeypatch.setattr("cnn_registry.system.silence.LONGEST", 0.002)

    def work_within() -> None:
        with working("Saving"):
            pass

    inner = threading.Thread(target=work_within, daemon=True)
    with muted(True), working("Training", after=0.001):
        time.sleep(0.1)
        inner.start()
        inner.join(10)
        assert not inner.is_alive()


def test_above_a_bar_work_has_one_line(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE", 0.05)

    def work() -> None:
        with progress("Working", 2), working("Building", after=0.05):
            time.sleep(0.3)

    assert show(work).count("Building") == 1


def test_a_slow_command_says_that_it_has_started(run_python: RunPython) -> None:
    code = """
import sys
from cnn_registry.cli import app
app.LATE = 0
sys.argv = ["cnnreg", "--no-plugins", "data", "nowhere"]
app.main()
"""
    first, second = run_python("-c", code).stderr.splitlines()
    assert first == "Starting cnnreg data"
    assert second.startswith("Error: There is no folder, table or dataset nowhere")


def test_what_is_done_again_has_the_same_notes_once(capsys: pytest.CaptureFixture[str]) -> None:
    with same_work():
        for trial in range(2):
            with same_work(), repeated():
                note("3 images cannot be read.")
            note("Lowering the rate.")
            note(f"Trial {trial} ended.")
    with repeated():
        note("3 images cannot be read.")
    lines = ["3 images cannot be read.", "Lowering the rate.", "Trial 0 ended.", "Lowering the rate.", "Trial 1 ended."]
    assert capsys.readouterr().err.splitlines() == [*lines, "3 images cannot be read."]
