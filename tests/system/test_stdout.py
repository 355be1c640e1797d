from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout

import pytest

from cnn_registry.system.stdout import stdout_to_stderr

Capture = pytest.CaptureFixture[str]


def test_what_is_printed_within_goes_to_standard_error(capsys: Capture) -> None:
    before = sys.stdout
    with stdout_to_stderr():
        print("within")
        sys.stdout.write("written\n")
        assert sys.stdout.fileno  # whatever else a file has
    print("after")
    assert sys.stdout is before
    assert capsys.readouterr() == ("after\n", "within\nwritten\n")


def test_it_ends_with_an_error_too(capsys: Capture) -> None:
    before = sys.stdout
    with pytest.raises(ValueError, match="lost"), stdout_to_stderr(), stdout_to_stderr():
        raise ValueError("lost")
    assert sys.stdout is before


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("first_out", ["first in", "last in"])
def test_threads_that_overlap_give_standard_output_back(capsys: Capture, first_out: str) -> None:
    before = sys.stdout
    entered, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def work(number: int) -> None:
        with stdout_to_stderr():
            print(f"thread {number}")
            entered[number].set()
            leave[number].wait()
        print(f"thread {number} after")

    threads = []
    for number in (0, 1):
        threads.append(in_thread(lambda number=number: work(number)))  # type: ignore[misc]
        entered[number].wait()
    print("meanwhile")  # this thread is outside
    for number in (0, 1) if first_out == "first in" else (1, 0):
        leave[number].set()
        threads[number].join()
    assert sys.stdout is before
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["meanwhile", "thread 0 after", "thread 1 after"]
    assert sorted(err.splitlines()) == ["thread 0", "thread 1"]


def test_many_threads_leave_nothing_behind(capsys: Capture) -> None:
    before = sys.stdout

    def work() -> None:
        for _ in range(50):
            with stdout_to_stderr():
                print("x")

    threads = [in_thread(work) for _ in range(8)]
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    assert capsys.readouterr().out == ""


def test_a_stream_that_was_kept_from_within_is_standard_output_again(capsys: Capture) -> None:
    with stdout_to_stderr():
        kept = sys.stdout
    print("later", file=kept)
    assert capsys.readouterr() == ("later\n", "")


def test_what_another_thread_puts_in_its_place_stays(capsys: Capture) -> None:
    before, other = sys.stdout, io.StringIO()
    with redirect_stdout(other):
        with stdout_to_stderr():
            pass
        print("redirected")
        assert sys.stdout is other
    guard = stdout_to_stderr()
    guard.__enter__()
    switched = sys.stdout
    sys.stdout = other
    guard.__exit__(None, None, None)
    assert sys.stdout is other
    sys.stdout = switched  # as `redirect_stdout` of another thread would restore what it had found
    print("as before")
    with stdout_to_stderr():
        print("within")
    assert sys.stdout is before
    assert capsys.readouterr() == ("as before\n", "within\n")


def test_a_process_without_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with stdout_to_stderr():
        print("nowhere")
    assert sys.stdout is None
