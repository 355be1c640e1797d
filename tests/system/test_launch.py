import signal
import sys
import threading
import time

import pytest

from cnn_registry.system.launch import launched

SHOW = (
    "import json, os; c = json.loads(os.environ['TF_CONFIG']); print(c['task']['index'], len(c['cluster']['worker']))"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_each_process_knows_the_others_and_its_lines_have_its_number(capfd: pytest.CaptureFixture[str]) -> None:
    assert launched(python(SHOW), 3) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == ["[0] 0 3", "[1] 1 3", "[2] 2 3"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_a_hangup_that_is_ignored_as_under_nohup_is_ignored_by_all() -> None:
    code = "import signal, sys; sys.exit(signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert launched(python(code), 2) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_when_one_fails_the_others_are_ended() -> None:
    code = f"{SHOW}; import sys, time; c['task']['index'] and time.sleep(60); sys.exit(7)"
    began = time.monotonic()
    assert launched(python(code), 2) == 7
    assert time.monotonic() - began < 10


def test_a_killed_process_counts_as_failed() -> None:
    assert launched(python("import os; os.kill(os.getpid(), 9)"), 1) == 137


def test_signals_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    import os
    import signal

    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(3)); time.sleep(30)"
    timer = threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    assert launched(python(code), 2) == 3
