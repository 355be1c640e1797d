"""The commands that name and describe models, as whole processes, with 1 to 1,000 plugins installed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from compileall import compile_dir
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Comparison
from cnn_registry.registry.current import current_registry
from cnn_registry.registry.discovery import MODELS

if TYPE_CHECKING:
    from benchmarks.conftest import Compare

SIZES = (1, 10, 100, 1000)
"""Numbers of distributions, each with two models."""

ROUNDS = 9

MODULE = '''"""A plugin of two models."""

from cnn_registry import Paper, register_model

PAPER = Paper(title="A tiny network", authors="Doe", year=2020, url="https://example.org")
'''

MODEL = '''

@register_model(
    family="tiny",
    summary="A tiny network, number {number}",
    paper=PAPER,
    trainable_params=5112,
    recipe_settings={{"article": {{"optimizer.learning_rate": 1e-5}}}},
)
def {name}{number}(input_shape, num_classes, *, width=4, classifier_activation="softmax"):
    """Build the network."""
    from tiny{number}_network import build

    return build(input_shape, num_classes, width=width, classifier_activation=classifier_activation)
'''

NAMES = ("narrow", "wide")

NAMING: dict[str, tuple[list[str], dict[str, str]]] = {
    "list --names": (["list", "--names"], {}),
    "completion": ([], {"_CNNREG_COMPLETE": "bash_complete", "COMP_WORDS": "cnnreg train wide", "COMP_CWORD": "2"}),
    "info": (["info", "wide0"], {}),
}
"""Arguments and environment variables of commands that need only names; the last also describes one model."""

LIMIT = 3
"""Maximum cost of listing names, relative to reading the same entry points with the standard library."""

MS_A_PLUGIN = 1
"""Maximum cost of each additional plugin in `cnnreg list`, in milliseconds."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """``site(plugins)``: a folder of installed distributions."""
    made: dict[int, Path] = {}

    def folder(plugins: int) -> Path:
        if plugins not in made:
            made[plugins] = tmp_path_factory.mktemp(f"site{plugins}")
            install(plugins, made[plugins])
        return made[plugins]

    return folder


@pytest.mark.parametrize("plugins", SIZES)
@pytest.mark.parametrize("command", NAMING)
def test_naming(
    command: str, plugins: int, benchmark: BenchmarkFixture, compare: Compare, site: Callable[[int], Path]
) -> None:
    arguments, variables = NAMING[command]
    environment = only_those_in(site(plugins))
    bare: list[float] = []

    def read_entry_points() -> float:
        bare.append(bare_interpreter())
        code = f"from importlib.metadata import entry_points; entry_points(group={MODELS!r})"
        return timed([sys.executable, "-c", code], environment)[0]

    def name_models() -> float:
        seconds, output = timed([cnnreg(), *arguments], environment | variables)
        assert "wide0" in output
        return seconds

    compared = compare(name_models, read_entry_points, ROUNDS)
    beside_bare = Comparison(compared.costs, np.array(bare[1:]))
    benchmark.extra_info[f"{command} / reading entry points"] = compared.summary()
    benchmark.extra_info[f"{command} / bare interpreter"] = beside_bare.summary()
    compared.check(LIMIT, f"cnnreg {command} with {plugins} plugins, relative to reading their entry points")


@pytest.mark.parametrize("plugins", SIZES)
def test_list(plugins: int, benchmark: BenchmarkFixture, compare: Compare, site: Callable[[int], Path]) -> None:
    compared = compare(lambda: list_models(site(plugins), plugins), bare_interpreter, ROUNDS)
    benchmark.extra_info["list / bare interpreter"] = compared.summary()


def test_list_grows_linearly(benchmark: BenchmarkFixture, compare: Compare, site: Callable[[int], Path]) -> None:
    most, fewer = max(SIZES), max(SIZES) // 10
    compared = compare(lambda: list_models(site(most), most), lambda: list_models(site(fewer), fewer), ROUNDS)
    milliseconds = 1e3 * (compared.costs - compared.references) / (most - fewer)
    low, median, high = np.quantile(milliseconds, (0.25, 0.5, 0.75))
    benchmark.extra_info[f"list with {most} plugins / with {fewer}"] = compared.summary()
    benchmark.extra_info["each additional plugin"] = f"{median:.2f} ms (quartiles {low:.2f} to {high:.2f})"
    compared.check(10, f"cnnreg list with {most} plugins, relative to {fewer}")
    assert low <= MS_A_PLUGIN


@pytest.mark.parametrize(("plugins", "limit"), [(14, 2.5), (1000, 5)])
def test_list_beside_click(
    plugins: int, limit: float, benchmark: BenchmarkFixture, compare: Compare, site: Callable[[int], Path]
) -> None:
    def import_click() -> float:
        return timed([sys.executable, "-c", "import click"], {})[0]

    compared = compare(lambda: list_models(site(plugins), plugins), import_click, ROUNDS)
    benchmark.extra_info[f"list with {plugins} plugins / import of click"] = compared.summary()
    compared.check(limit, f"cnnreg list with {plugins} plugins, relative to importing click")


def list_models(folder: Path, plugins: int) -> float:
    """Seconds of ``cnnreg list``."""
    seconds, output = timed([cnnreg(), "list"], only_those_in(folder))
    assert len(output.splitlines()) == 1 + len(NAMES) * plugins
    return seconds


def bare_interpreter() -> float:
    """Seconds of a Python process that does nothing."""
    return timed([sys.executable, "-c", "pass"], {})[0]


def cnnreg() -> str:
    """The command beside this interpreter."""
    return str(Path(sys.executable).with_name("cnnreg"))


def install(plugins: int, folder: Path) -> None:
    """Write distributions with two models each, as pip would have installed them some time ago."""
    for number in range(plugins):
        source = MODULE + "".join(MODEL.format(name=name, number=number) for name in NAMES)
        (folder / f"tiny{number}.py").write_text(source)
        info = folder / f"tiny{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: tiny{number}\nVersion: 1.0\n\nRead me\n")
        lines = [f"{name}{number} = tiny{number}:{name}{number}" for name in NAMES]
        (info / "entry_points.txt").write_text("\n".join([f"[{MODELS}]", *lines, ""]))
    compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (0, 0))


def only_those_in(folder: Path) -> dict[str, str]:
    """The environment in which the distributions in ``folder`` are the only plugins, with a cache of its own."""
    others = {entry.distribution for entry in current_registry().plugins.installed(MODELS)}
    cache = folder.with_name(f"{folder.name}-cache")
    variables = {"PYTHONPATH": str(folder), "CNNREG_PLUGINS": "", "CNNREG_DISABLE_PLUGINS": ",".join(others)}
    return {**variables, "CNNREG_CACHE": str(cache)}


def timed(command: list[str], variables: Mapping[str, str]) -> tuple[float, str]:
    """The seconds from the start of a process to its end, and its output."""
    # Users have compiled modules. The first round, which does not count, must be allowed to write them.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    ended = subprocess.run(command, env={**inherited, **variables}, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, ended.stdout
