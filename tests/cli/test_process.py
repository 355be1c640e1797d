"""The command line as processes of its own."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cnn_registry.runs.run import Run
from tests.conftest import UNVARIED_OPTIONS

TRAIN = [*UNVARIED_OPTIONS, "--set", "batch_size=8", "--set", "image_size=16"]


def shell(script: str, python: Sequence[str] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``cnnreg`` is this checkout's; a pipe ends with the first code that is not 0."""
    line = f'set -o pipefail; cnnreg() {{ {shlex.join(python)} -m cnn_registry "$@"; }}; {script}'
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)


def test_a_reader_that_leaves_causes_no_error(tiny: str) -> None:
    command = [sys.executable, "-m", "cnn_registry", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait(timeout=60)
    assert process.returncode in (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["2>&1 | head -n 2", "2>&-"])
def test_a_training_ends_though_nobody_reads_what_it_prints(
    tiny: str, colours: Path, tmp_path: Path, warm_python: list[str], reader: str
) -> None:
    data, out = shlex.quote(str(colours)), shlex.quote(str(tmp_path))
    ended = shell(f"cnnreg train tiny --data {data} --out {out} {' '.join(TRAIN)} --epochs 1 {reader}", warm_python)
    assert (ended.returncode, ended.stderr) == (0, "")
    [path] = tmp_path.glob("*_tiny_colours")
    assert Run.open(path).record.status == "finished"
    assert (path / "confusion.png").is_file()


@pytest.mark.parametrize("command", ["list --json", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_line(tiny: str, command: str, unbuffered: str) -> None:
    ended = shell(f"export PYTHONUNBUFFERED={unbuffered}; cnnreg {command} > /dev/full")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Error: Standard output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("streams", ["2> /dev/full", "2>&- >&-"])
def test_a_result_and_its_exit_code_do_not_depend_on_standard_error(tiny: str, streams: str) -> None:
    assert shell(f"cnnreg list {streams}").returncode == 0
    assert shell(f"cnnreg lst {streams}").returncode == 2


@pytest.mark.slow
def test_a_graph_is_measured_without_notes_of_other_packages(tiny: str) -> None:
    unwritable = "HOME=/dev/null/home; unset XDG_CONFIG_HOME XDG_CACHE_HOME MPLCONFIGDIR"  # Matplotlib has two about it
    ended = shell(f"unset TF_CPP_MIN_LOG_LEVEL; {unwritable}; cnnreg info tiny --graph")
    assert ended.returncode == 0
    slow_work = ("Building tiny", "Importing Keras with tensorflow", "Starting cnnreg info")  # on a slow machine
    assert all(line.startswith(slow_work) for line in ended.stderr.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.slow
def test_a_terminal_gets_a_bar_with_speed_loss_and_accuracy(
    tiny: str, colours: Path, tmp_path: Path, warm_python: list[str]
) -> None:
    terminal, its_end = pty.openpty()
    command = [*warm_python, "-m", "cnn_registry", "train", "tiny", "--data", str(colours), "--out", str(tmp_path)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "140"}
    process = subprocess.Popen(
        [*command, *TRAIN, "--set", "epochs=2"], stdout=its_end, stderr=its_end, stdin=its_end, env=environment
    )
    os.close(its_end)
    shown = read_all(terminal)
    assert process.wait(timeout=60) == 0
    assert re.search(r"epoch 2/2.*━.*12/12.*images/s  loss \d\.\d+  accuracy \d\.\d+.*0:00:00", shown)
    assert re.search(r"epoch 1/2  loss .* val_accuracy ", shown)


def read_all(terminal: int) -> str:
    """What is written to a terminal until its last user has gone, without the escape sequences."""
    chunks = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # how Linux tells the end
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(terminal)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(chunks).decode())
