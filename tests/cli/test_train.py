"""``cnnreg train --resume``: what it takes, and how a stopped training ends."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.runs.run import Run
from tests.conftest import UNVARIED_OPTIONS

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

pytestmark = pytest.mark.slow

SETTINGS = [
    *UNVARIED_OPTIONS,
    "--set",
    "image_size=16",
    "--set",
    "batch_size=8",
    "--set",
    "optimizer.learning_rate=0.1",
]


@pytest.mark.parametrize(
    ("number", "code", "status"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_stopped_process_says_how_to_resume_and_resumes(
    tiny: str,
    colours: Path,
    tmp_path: Path,
    cnnreg: Cnnreg,
    warm_python: list[str],
    number: signal.Signals,
    code: int,
    status: str,
) -> None:
    command = [*warm_python, "-m", "cnn_registry", "train", tiny, "--data", str(colours), "--epochs", "500"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path), *SETTINGS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 3/500"):
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (code, False)
    [run] = tmp_path.glob("*_tiny_*")
    assert Run.open(run).record.status == status
    assert (run / "last.weights.h5").is_file()
    assert out.startswith(f"{status}: ")
    assert out.splitlines()[-1] == f"resume with: cnnreg train --resume {run}"
    if number == signal.SIGINT:
        assert cnnreg("train", "--resume", run, "--set", "epochs=4", "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name a model; see: cnnreg list."),
        (["tiny", "--force"], "--force is for --resume."),
        (["--resume", "auto"], "--resume auto needs the model"),
        (["tiny", "--resume", "somewhere"], "The run already determines what is trained; remove the model."),
        (["--resume", "somewhere", "--split", "stratified"], "remove --split"),
        (["tiny", "--resume", "auto", "--folds", "3"], "--resume auto resumes one run"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(cnnreg: Cnnreg, tiny: str, arguments: list[str], words: str) -> None:
    code, out, err = cnnreg("train", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_no_run_is_one_line(cnnreg: Cnnreg, tiny: str, tmp_path: Path) -> None:
    code, _, err = cnnreg("train", "--resume", str(tmp_path))
    assert (code, err.count("\n")) == (1, 1)
    assert "is not a run directory" in err


def test_auto_starts_a_new_run_where_none_is_unfinished(
    cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path
) -> None:
    arguments = ["train", tiny, "--data", str(colours), "--out", str(tmp_path), "--epochs", "1", *SETTINGS]
    code, _, err = cnnreg(*arguments, "--resume", "auto")
    assert code == 0
    assert "No unfinished run with these arguments" in err
    assert len(list(tmp_path.glob("*_tiny_*"))) == 1
