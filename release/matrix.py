"""Install what the metadata allows, with the oldest and with the newest versions, for each Python, and try it.

uv resolves the dependencies for each Python, also for one that is not here: its wheels are looked up, and nothing is
built. Where the Python is here, an environment is made, in which a network is trained and the quick tests run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ENDS = {"oldest": "lowest-direct", "newest": "highest"}
"""What the versions are, and how uv calls it. Only what this project itself requires is the oldest that it allows."""

SHOWN = ("keras", "numpy", "tensorflow", "tensorflow-cpu")
TOOLS = ("hypothesis", "pytest", "pytest-xdist")
"""What the quick tests need beside the packages."""

TRIAL = """
import cnn_registry
from cnn_registry import create_model, list_models, train
assert "site-packages" in cnn_registry.__file__, cnn_registry.__file__
assert len(list_models()) > 40, list_models()
create_model("resnet18", num_classes=3, input_shape=(32, 32, 3))
run = train("lenet5", dataset="digits", settings={"epochs": 1, "pixels": "unit"})
assert run.evaluate().probabilities.shape == (360, 10)
assert run.predict(run.path / "curves.png")
"""


class Combination(NamedTuple):
    """A Python, and which end of the ranges."""

    python: str
    end: str

    def __str__(self) -> str:
        return f"Python {self.python} with the {self.end} versions"


class Resolution(NamedTuple):
    """The versions of a combination.

    Attributes:
        pins: the lines ``name==version``; empty where there are none.
        reason: why there are none.
    """

    pins: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        found = dict(pin.split("==") for pin in self.pins)
        return ", ".join(f"{name} {found[name]}" for name in SHOWN if name in found)


def uv(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run uv with what pip is configured with."""
    command = [sys.executable, "-m", "uv", "--no-config", "--quiet", *map(str, arguments)]
    environment = os.environ | configuration()
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


PIP_AND_UV = {
    "cert": "SSL_CERT_FILE",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
}
"""Settings of pip, and the variables in which uv takes the same."""


@cache
def configuration() -> dict[str, str]:
    """The variables that make uv look where pip does, and take the best of what it finds there, as pip does."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^\S*\.([\w-]+)='(.*)'$", listed, re.MULTILINE)
    named = {PIP_AND_UV[key]: value for key, value in found if key in PIP_AND_UV}
    return {"UV_INDEX_STRATEGY": "unsafe-best-match"} | named


def combinations() -> list[Combination]:
    """All of them."""
    return [Combination(python, end) for python in PYTHONS for end in ENDS]


def resolve(combination: Combination, folder: Path) -> Resolution:
    """The versions of the core with the extra ``cpu``; what uv reads is written to ``folder``.

    Of the newest versions, TensorFlow's is chosen first: the newest h5py would exclude the newest TensorFlow.
    """
    constraints, alone = folder / "constraints.txt", folder / "alone.in"
    alone.write_text("tensorflow-cpu>=2.20\n", encoding="utf-8")
    first = pins(combination, alone).pins if combination.end == "newest" else ()
    chosen = [pin for pin in first if pin.startswith("tensorflow-cpu==")]
    constraints.write_text("\n".join([*chosen, ""]), encoding="utf-8")
    return pins(combination, "--extra", "cpu", "--constraint", constraints, ROOT / "pyproject.toml")


def pins(combination: Combination, *arguments: object) -> Resolution:
    """The versions of what a file requires, all of them with wheels for the Python."""
    options = ("--python-version", combination.python, "--resolution", ENDS[combination.end], "--only-binary", ":all:")
    done = uv("pip", "compile", *options, "--no-annotate", "--no-header", *arguments)
    if done.returncode:
        return Resolution((), " ".join(done.stderr.split()))
    return Resolution(tuple(line for line in done.stdout.splitlines() if "==" in line), "")


def interpreter(python: str) -> str | None:
    """The path of a Python of this version, on the path or among those of pyenv; ``None`` where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = shutil.which(f"python{python}")
    for path in filter(None, [named, *map(str, sorted(pyenv.glob(f"{python}.*/bin/python"), reverse=True))]):
        command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == python:
            return path
    return None


def install(folder: Path, interpreter: str, pins: Sequence[str], wheels: Sequence[Path]) -> list[str]:
    """Make an environment of these versions and wheels in ``folder``; what went wrong."""
    lines = folder.with_suffix(".txt")
    lines.write_text("\n".join(pins) + "\n", encoding="utf-8")
    python = folder / "bin" / "python"
    for arguments in (
        ("venv", "--python", interpreter, folder),
        ("pip", "install", "--python", python, "--requirement", lines),
        ("pip", "install", "--python", python, "--no-deps", *wheels),
        ("pip", "check", "--python", python),
        ("pip", "install", "--python", python, "--constraint", lines, *TOOLS),
    ):
        done = uv(*arguments)
        if done.returncode:
            return [" ".join(done.stderr.split()[-60:])]
    return []


def check(
    wheels: Sequence[Path],
    workplace: Path,
    run_tests: Callable[[Path], list[str]],
    report: Callable[[str, Sequence[str]], int],
) -> int:
    """Check each combination, and report it; returns how many failed.

    Args:
        wheels: the packages.
        workplace: a folder for the environments.
        run_tests: runs the quick tests with a Python; what went wrong.
        report: prints how a check ended; returns 1 if there are faults.
    """
    failed = 0
    for combination in combinations():
        resolution = resolve(combination, workplace)
        if not resolution.pins:
            print(f"SKIPPED  {combination}: {resolution.reason[:300]}", flush=True)
            continue
        what = f"{combination}: {resolution}"
        path = interpreter(combination.python)
        if path is None:
            print(f"ok       {what}: it resolves; this Python is not here, so nothing was installed", flush=True)
            continue
        folder = workplace / f"{combination.python}-{combination.end}"
        faults = install(folder, path, resolution.pins, wheels)
        python = folder / "bin" / "python"
        failed += report(what, faults or [*trial_faults(python, workplace), *run_tests(python)])
        shutil.rmtree(folder, ignore_errors=True)
    return failed


def trial_faults(python: Path, workplace: Path) -> list[str]:
    """What goes wrong where a network is trained."""
    done = subprocess.run(
        [python, "-c", TRIAL],
        cwd=workplace,
        env=os.environ | {"CNNREG_CACHE": str(workplace / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if done.returncode == 0 else [" / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])]
