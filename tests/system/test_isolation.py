"""Somebody else's code leaves the streams and the current directory as they were."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
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


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ACME_KEPT", "1")
    monkeypatch.setenv("ACME_LOST", "2")
    monkeypatch.delenv("ACME_NEW", raising=False)
    before = dict(os.environ)
    with isolated("Importing acme", environment=True):
        os.environ["ACME_KEPT"] = "changed"
        os.environ["ACME_NEW"] = "new"
        del os.environ["ACME_LOST"]
    assert dict(os.environ) == before
    said = "Importing acme changed the environment variables 'ACME_KEPT', 'ACME_LOST', 'ACME_NEW'; this was undone.\n"
    assert capsys.readouterr().err == said


def test_what_a_large_library_sets_stays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("jax", "tensorflow", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("ACME_KEPT", "1")
    monkeypatch.setenv("OF_TORCH", "1")
    monkeypatch.delenv("OF_TORCH")
    with isolated("Importing acme", environment=True):
        monkeypatch.setitem(sys.modules, "torch", sys)
        os.environ |= {"OF_TORCH": "1", "ACME_KEPT": "changed"}
    assert os.environ["OF_TORCH"] == os.environ["ACME_KEPT"] == "1"
    assert "variables 'ACME_KEPT'; this" in capsys.readouterr().err


def interrupt() -> None:
    raise KeyboardInterrupt


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def with_ctrl_c() -> object:
    """Ctrl-C raises KeyboardInterrupt; it does not where the tests are started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_of_its_own_is_not_the_users(with_ctrl_c: object) -> None:
    with pytest.raises(RuntimeError, match="KeyboardInterrupt, though nobody pressed Ctrl-C"), isolated("Importing a"):
        interrupt()
    with pytest.raises(KeyboardInterrupt), isolated("Importing acme"):
        press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is with_ctrl_c


def test_a_thread_is_never_interrupted_by_the_user() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with isolated("Importing acme"):
                interrupt()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "though nobody pressed Ctrl-C" in str(raised[0])


def test_ctrl_c_does_what_it_did(with_ctrl_c: object, capsys: pytest.CaptureFixture[str]) -> None:
    with isolated("Importing acme"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is with_ctrl_c
    assert capsys.readouterr().err == "Importing acme changed what Ctrl-C does; this was undone.\n"
